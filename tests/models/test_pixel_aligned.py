"""One Gaussian a pixel, on its ray, of the right size and always in front of its camera."""

import pytest
import torch

from gs_reg.geometry import project
from gs_reg.models.pixel_aligned import PixelAligned, PixelAlignedConfig, base_opacity
from gs_reg.types import Cameras, Views


def photo_view(width=12, height=8, mask=None):
    K = torch.tensor([[20.0, 0, 5.2], [0, 22.0, 4.4], [0, 0, 1]])
    viewmat = torch.eye(4)
    viewmat[:3, 3] = torch.tensor([0.3, -0.2, 0.5])
    image = torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(0))
    return Views(Cameras(viewmat[None], K[None], width, height), image, ("a",), mask)


def model_of(view, depth=2.0, **options):
    return PixelAligned.from_views([view], [torch.full(view.images.shape[1:3], depth)], PixelAlignedConfig(**options))


def test_means_project_to_their_pixel_centres_at_any_residual():
    view = photo_view()
    model = model_of(view)
    with torch.no_grad():
        model.residual.copy_(torch.linspace(-3, 3, len(model.residual)))
        xy, z = project(view.cameras, model().means)
    v, u = torch.meshgrid(torch.arange(8), torch.arange(12), indexing="ij")
    torch.testing.assert_close(xy[0], torch.stack([u, v], -1).reshape(-1, 2) + 0.5, rtol=0, atol=1e-4)
    torch.testing.assert_close(z[0], model.depths(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("residual", [-1e3, -5.0, 0.0, 5.0, 1e3])
def test_depth_stays_positive_and_within_its_range(residual):
    model = model_of(photo_view())
    with torch.no_grad():
        model.residual.fill_(residual)
    ratio = model.depths() / 2.0
    assert (
        (ratio > 0).all()
        and (ratio >= torch.tensor(-0.5001).exp()).all()
        and (ratio <= torch.tensor(0.5001).exp()).all()
    )


@pytest.mark.parametrize("depth", [0.1, 1.0, 50.0])
def test_sigma_is_a_share_of_a_pixel_at_every_depth(depth):
    model = model_of(photo_view(), depth)
    pixels = model().scales * 21.0 / depth
    torch.testing.assert_close(pixels, torch.full_like(pixels, 0.6))


def test_colours_and_opacity_start_as_the_method_says():
    view = photo_view()
    splats = model_of(view, sh_degree=1)()
    torch.testing.assert_close(splats.sh[:, 0] * 0.28209479177387814 + 0.5, view.images[0].reshape(-1, 3))
    assert not splats.sh[:, 1:].any() and splats.sh_degree == 1
    assert base_opacity(2) == pytest.approx(0.61, abs=0.005) and base_opacity(4) == pytest.approx(0.38, abs=0.005)


def test_masked_pixels_carry_no_gaussian():
    mask = torch.zeros(1, 8, 12, dtype=torch.bool)
    mask[0, 2:4] = True
    assert len(model_of(photo_view(mask=mask))()) == 24


def test_every_parameter_has_a_group_and_gets_a_gradient():
    model = model_of(photo_view(), sh_degree=1)
    groups = model.parameter_groups()
    assert {id(p) for g in groups for p in g.tensors} == {id(p) for p in model.parameters()}
    splats = model()
    (splats.means.sum() + splats.log_scales.sum() + splats.opacities.sum() + splats.sh.square().sum()).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_spread_is_kept_for_every_pixel():
    view = photo_view(mask=torch.rand(1, 8, 12, generator=torch.Generator().manual_seed(1)) > 0.5)
    spread = torch.rand(8, 12)
    model = PixelAligned.from_views([view], [torch.full((8, 12), 2.0)], PixelAlignedConfig(), [spread])
    assert torch.equal(model.spread, spread[view.masks[0]])
    assert torch.equal(PixelAligned(model.state_dict(), model.config).spread, model.spread)


def test_more_pixels_than_asked_for_are_thinned_to_larger_gaussians():
    view = photo_view()
    whole, thinned = model_of(view), model_of(view, max_gaussians=30)
    assert len(whole.start) == 96 and len(thinned.start) == 24
    torch.testing.assert_close(thinned().scales, whole().scales[:24] * 2)
    xy, _ = project(view.cameras, thinned().means.detach())
    torch.testing.assert_close(xy[0, 0], torch.tensor([1.5, 1.5]), rtol=0, atol=1e-4)
