"""No training view is drawn beside its photo: global shift of render against photo, in pixels."""

import pytest
import torch
from torch.nn.functional import conv2d

from gs_reg.fit import FitConfig, fit
from gs_reg.models.free import Free, FreeConfig
from gs_reg.models.pixel_aligned import PixelAligned, PixelAlignedConfig
from gs_reg.render import RenderConfig, render
from gs_reg.shot import Shot
from gs_reg.state import State
from gs_reg.terms import cost_of
from gs_reg.terms.scene import SceneTerms
from gs_reg.types import Cameras, Views

WIDTH, HEIGHT = 74, 51


def texture(dx=0.0, dy=0.0):
    """Waves of random direction, sampled at pixel centres moved by (dx, dy)."""
    generator = torch.Generator().manual_seed(3)
    angle, phase = 6.28 * torch.rand(24, generator=generator), 6.28 * torch.rand(24, generator=generator)
    rate = 0.2 + 0.5 * torch.rand(24, generator=generator)
    v, u = torch.meshgrid(torch.arange(HEIGHT) + 0.5 + dy, torch.arange(WIDTH) + 0.5 + dx, indexing="ij")
    waves = torch.cos(rate * (u[..., None] * angle.cos() + v[..., None] * angle.sin()) + phase)
    return 0.5 + 0.04 * waves.unflatten(-1, (3, 8)).sum(-1)


def shift(drawn, photo):
    """By how many pixels `drawn` lies right of and below `photo`: both smoothed, least squares, one step."""
    kernel = torch.exp(-((torch.arange(-4, 5) / 2.0) ** 2) / 2)
    kernel = (kernel[:, None] * kernel).div(kernel.sum() ** 2)[None, None]
    a, b = (conv2d(x.permute(2, 0, 1)[:, None], kernel)[:, 0] for x in (drawn, photo))
    gx, gy = (b[:, 1:-1, 2:] - b[:, 1:-1, :-2]) / 2, (b[:, 2:, 1:-1] - b[:, :-2, 1:-1]) / 2
    gradients = torch.stack([gx.flatten(), gy.flatten(), b[:, 1:-1, 1:-1].flatten(), torch.ones(gx.numel())], 1)
    found = torch.linalg.lstsq(gradients, (a - b)[:, 1:-1, 1:-1].reshape(-1, 1)).solution
    return -found[:2, 0]


def view():
    K = torch.tensor([[70.0, 0, 33.3], [0, 74.0, 27.9], [0, 0, 1]])
    viewmat = torch.eye(4)
    viewmat[:3, 3] = torch.tensor([0.3, -0.2, 0.5])
    return Views(Cameras(viewmat[None], K[None], WIDTH, HEIGHT), texture()[None], ("a",))


def depth():
    """Two planes at a slope, with a step between them."""
    v, u = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    return torch.where(u > 40, 2 + 0.01 * v, 4 + 0.01 * u)


@pytest.mark.parametrize("dx, dy", [(0.0, 0.0), (0.5, 0.5), (-0.1, 0.02)])
def test_the_measure_finds_a_known_shift(dx, dy):
    found = shift(texture(-dx, -dy), texture())
    assert found.tolist() == pytest.approx([dx, dy], abs=0.01 + 0.03 * max(abs(dx), abs(dy)))


def shift_of(model, supersample=1):
    with torch.no_grad():
        image = render(model(), view().cameras, RenderConfig(supersample=supersample))
    inside = slice(6, -6)
    colors = image.colors[0] / image.alphas[0].clamp_min(0.1)
    return shift(colors[inside, inside], texture()[inside, inside]).abs().max()


@pytest.mark.parametrize("supersample", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_faint_gaussians_lie_on_the_photo(stride, supersample):
    """Faint, as opaque ones hide what is behind them: then a picture is drawn towards its nearer neighbours."""
    rays = PixelAligned.from_views([view()], [depth()], PixelAlignedConfig(stride=stride))
    assert shift_of(Free.from_splats(rays(), FreeConfig(opacity=0.01)), supersample) < 0.02


def test_training_ends_on_the_photo():
    rays = PixelAligned.from_views([view()], [depth()], PixelAlignedConfig())
    assert shift_of(rays) > 0.1
    config = FitConfig(steps=200)
    for _ in fit(State.begin(rays, config.optim), lambda step: Shot(view()), cost_of(SceneTerms()), config):
        pass
    assert shift_of(rays) < 0.02
