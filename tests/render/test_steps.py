"""render() as its steps, and what may be composited: features of views, colours given directly."""

from dataclasses import replace

import pytest
import torch

from gs_reg.render import RenderConfig, _check, composite, project, render
from gs_reg.sh import sh_colors

from .scenes import leaves, random_scene, rebuilt

BACKENDS = ["native", "reference"]


def rand(*shape):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("backend", BACKENDS)
def test_render_is_its_steps(backend):
    splats, cameras = random_scene()
    config, features, backgrounds = RenderConfig(backend=backend), rand(150, 2), rand(2, 3)
    whole = render(splats, cameras, config, features=features, backgrounds=backgrounds)
    projected = project(splats, cameras, config)
    colors = sh_colors(splats.sh, splats.means, cameras.centers, 1)
    channels = torch.cat([colors, projected.depths[..., None], features.expand(2, -1, -1)], -1)
    image, alphas = composite(projected, channels, torch.nn.functional.pad(backgrounds, (0, 3)))
    parts = torch.cat([whole.colors, whole.depths, whole.features], -1)
    torch.testing.assert_close(image, parts, rtol=0, atol=1e-13)
    torch.testing.assert_close(alphas, whole.alphas, rtol=0, atol=1e-13)
    assert torch.equal(projected.means2d, whole.means2d) and torch.equal(projected.radii, whole.radii)
    assert projected.config.backend == backend and (projected.width, projected.height) == (75, 64)


@pytest.mark.parametrize("backend", BACKENDS)
def test_alphas_alone(backend):
    splats, cameras = random_scene()
    config = RenderConfig(backend=backend)
    image, alphas = composite(project(splats, cameras, config), rand(2, 150, 0))
    assert image.shape == (2, 64, 75, 0)
    torch.testing.assert_close(alphas, render(splats, cameras, config).alphas, rtol=0, atol=1e-13)


def test_one_projection_serves_several_compositions():
    """Gradients add up, and are those of one composition of all channels."""
    splats, cameras = random_scene(count=40)
    first, second = rand(2, 40, 3), rand(2, 40, 5)
    gradients = []
    for apart in (True, False):
        leaf = leaves(splats, cameras)
        projected = project(*rebuilt(leaf, cameras))
        if apart:
            images = [composite(projected, channels)[0] for channels in (first, second)]
        else:
            images = [composite(projected, torch.cat([first, second], -1))[0]]
        sum((image * image.detach().cos()).sum() for image in images).backward()
        gradients.append([leaf[name].grad for name in ("means", "quats", "log_scales", "opacity_logits", "viewmats")])
    for a, b in zip(*gradients, strict=True):
        assert a.abs().sum() > 0
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("backend", BACKENDS)
def test_features_of_each_view(backend):
    splats, cameras = random_scene()
    config, features = RenderConfig(backend=backend), rand(2, 150, 4).requires_grad_()
    image = render(splats, cameras, config, features=features).features
    for c in range(2):
        alone = render(splats, cameras[c], config, features=features[c].detach()).features
        torch.testing.assert_close(image[c], alone[0], rtol=0, atol=1e-13)
    upstream = rand(*image.shape)
    (gradient,) = torch.autograd.grad((image * upstream).sum(), features)
    shared = features.detach()[0].requires_grad_()
    same = render(splats, cameras, config, features=shared).features
    (gradient_of_shared,) = torch.autograd.grad((same * upstream).sum(), shared)
    torch.testing.assert_close(gradient.sum(0), gradient_of_shared, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_colors_given_directly(backend, monkeypatch):
    splats, cameras = random_scene()
    config = RenderConfig(backend=backend)
    colors = sh_colors(splats.sh, splats.means, cameras.centers, 1)
    by_sh = render(splats, cameras, config)
    # coefficients that would show, were they evaluated
    given = replace(splats, sh=torch.full_like(splats.sh, torch.nan), colors=colors.requires_grad_())
    image = render(given, cameras, config)
    torch.testing.assert_close(image.colors, by_sh.colors, rtol=0, atol=1e-13)
    torch.testing.assert_close(image.depths, by_sh.depths, rtol=0, atol=1e-13)
    upstream = rand(*image.colors.shape)
    (gradient,) = torch.autograd.grad((image.colors * upstream).sum(), colors)
    features = colors.detach().requires_grad_()
    drawn = render(splats, cameras, config, features=features).features
    torch.testing.assert_close(gradient, torch.autograd.grad((drawn * upstream).sum(), features)[0])
    # not clamped
    negative = render(replace(given, colors=-colors.detach()), cameras, config)
    torch.testing.assert_close(negative.colors, -by_sh.colors, rtol=0, atol=1e-13)


def test_colors_of_a_supersampled_picture():
    splats, cameras = random_scene(40, 24, 16)
    splats = replace(splats, colors=rand(2, 40, 3))
    got = render(splats, cameras, RenderConfig(supersample=2)).colors
    finer = render(splats, cameras.resized(48, 32)).colors
    torch.testing.assert_close(got, finer.reshape(2, 16, 2, 24, 2, 3).mean((2, 4)))


def test_wrong_inputs_have_clear_errors():
    splats, cameras = random_scene(count=9)
    with pytest.raises(ValueError, match=r"features: expected \[2, 9, 4\], got \[3, 9, 4\]"):
        _check(splats, cameras, rand(3, 9, 4), None)
    with pytest.raises(ValueError, match=r"features: expected \[9, 4\], got \[8, 4\]"):
        _check(splats, cameras, rand(8, 4), None)
    with pytest.raises(ValueError, match=r"colors: expected \[2, 9, 3\], got \[1, 9, 3\]"):
        render(replace(splats, colors=rand(1, 9, 3)), cameras)
    with pytest.raises(TypeError, match="colors: expected the dtype of means"):
        render(replace(splats, colors=rand(2, 9, 3).float()), cameras)
    with pytest.raises(ValueError, match="supersample: expected 1, got 2"):
        project(splats, cameras, RenderConfig(supersample=2))
    projected = project(splats, cameras)
    with pytest.raises(ValueError, match=r"channels: expected \[2, 9, 3\], got \[2, 8, 3\]"):
        composite(projected, rand(2, 8, 3))
    with pytest.raises(TypeError, match="channels: expected the dtype of means2d"):
        composite(projected, rand(2, 9, 3).float())
