"""The CUDA kernels of projection and compositing, emulated, against the CPU library."""

import math
from dataclasses import replace

import pytest
import torch

from gs_reg import _ops
from gs_reg._ops import rasterizer
from gs_reg.render import RenderConfig, render

from ..render import test_needles, test_nonfinite
from ..render.scenes import leaves, random_scene, random_warps, rebuilt
from ..render.test_warps import identity_changes_nothing, operands, project

SIZE = {"count": 60, "width": 29, "height": 31}


def drawn(dtype=torch.float64, features=0, warps=None, **options):
    """All outputs, and the gradients of a random linear function of them."""
    splats, cameras = random_scene(**SIZE)
    splats = replace(splats, warps=warps)
    leaf = {k: v.detach().to(dtype).requires_grad_() for k, v in leaves(splats, cameras).items()}
    generator = torch.Generator().manual_seed(5)

    def rand(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64).to(dtype)

    leaf["features"] = rand(len(splats), features).requires_grad_()
    leaf["backgrounds"] = rand(2, 3).requires_grad_()
    config = RenderConfig(backend="native", **options)
    out = render(*rebuilt(leaf, cameras), config, features=leaf["features"], backgrounds=leaf["backgrounds"])
    out.means2d.retain_grad()
    image = torch.cat([out.colors, out.alphas, out.depths, out.features], -1)
    (image * (rand(*image.shape) - 0.5)).sum().backward()
    gradients = {name: tensor.grad for name, tensor in leaf.items() if tensor.numel()}
    if config.absgrad:
        gradients["absolute"] = out.means2d.absgrad
    return image.detach(), {"radii": out.radii, "means2d": out.means2d.detach()}, gradients


def assert_close(ours, theirs, image=1e-12, relative=1e-10):
    assert torch.equal(ours[1]["radii"], theirs[1]["radii"])
    torch.testing.assert_close(ours[1]["means2d"].double(), theirs[1]["means2d"].double(), rtol=2e-6, atol=1e-4)
    assert theirs[0].abs().sum() > 0
    assert (ours[0] - theirs[0]).abs().max() <= image
    for name, gradient in ours[2].items():
        want = theirs[2][name]
        assert want.abs().sum() > 0, name
        assert (gradient - want).norm() <= relative * want.norm(), name


@pytest.mark.parametrize("mode", ["classic", "antialiased"])
@pytest.mark.parametrize("camera_model", ["pinhole", "ortho"])
def test_float64(emulated, mode, camera_model):
    options = {"mode": mode, "camera_model": camera_model}
    with emulated():
        ours = drawn(**options)
    assert_close(ours, drawn(**options))


@pytest.mark.parametrize("mode", ["classic", "antialiased"])
@pytest.mark.parametrize("camera_model", ["pinhole", "ortho"])
def test_warped_shapes(emulated, mode, camera_model):
    options = {"mode": mode, "camera_model": camera_model, "warps": random_warps(SIZE["count"])}
    with emulated():
        ours = drawn(**options)
    theirs = drawn(**options)
    assert_close(ours, theirs)
    assert "warps" in ours[2]


def test_an_identity_gives_the_same_numbers(emulated):
    with emulated():
        identity_changes_nothing(torch.float32)
        identity_changes_nothing(torch.float64)


def test_nonfinite_maps_are_culled_and_counted(emulated):
    ins, _ = operands(40)
    with torch.no_grad():
        ins[4][7, 1, 2], ins[4][8, 0, 0] = math.nan, math.inf
    with emulated():
        outputs = project(ins)
    assert outputs[6].item() == 2 and not outputs[5][:, 7:9].any()
    for ours, theirs in zip(outputs, project(ins), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("bad", test_nonfinite.BAD, ids=str)
def test_rows_that_mean_nothing_are_left_out(emulated, bad):
    with emulated():
        test_nonfinite.left_out(bad, dtype=torch.float32)
        test_nonfinite.left_out(bad, features=9)


@pytest.mark.parametrize("kind", test_needles.SPREADS)
def test_gradients_of_needles_in_single_precision(emulated, kind):
    with emulated():
        test_needles.bounded(kind, False, 500)
        test_needles.bounded(kind, True, 500)


def needles(count=150):
    """Thin splats across an image of 83x70: of all sizes and directions, some as faint as the threshold."""
    generator = torch.Generator().manual_seed(9)
    splats, cameras = random_scene(count=count, width=83, height=70, degree=0)
    sizes = torch.logspace(-2, 1, count, dtype=torch.float64)
    ratios = torch.rand(count, 3, generator=generator, dtype=torch.float64) ** 4
    opacities = torch.rand(count, generator=generator, dtype=torch.float64) ** 6 * 0.9 + 1 / 255
    splats.means[:, 2] += 2
    return replace(
        splats, log_scales=(sizes[:, None] * (ratios + 1e-3)).log(), opacity_logits=opacities.logit()
    ), cameras


def test_both_ways_to_bin_find_every_pixel_of_thin_splats(emulated):
    """The CPU goes by projected extents and blocks, a GPU by shapes and strips: what either missed would be at least
    1/255 of a pixel, without a cut-off in transmittance."""
    splats, cameras = needles()
    config = RenderConfig(backend="native", transmittance_min=0.0)
    want = render(splats, cameras, replace(config, backend="reference"))
    assert (want.radii > 40).any() and (want.radii[want.radii > 0] < 4).any()
    with emulated():
        ours = render(splats, cameras, config)
    for image in (ours, render(splats, cameras, config)):
        torch.testing.assert_close(image.colors, want.colors, rtol=0, atol=1e-11)
        torch.testing.assert_close(image.alphas, want.alphas, rtol=0, atol=1e-11)


@pytest.mark.parametrize("features", [1, 4, 12, 13, 29, 60])
def test_many_channels(emulated, features):
    with emulated(seed=1):
        ours = drawn(features=features)
    assert_close(ours, drawn(features=features))


@pytest.mark.parametrize("features", [0, 3])
def test_float32_within_tolerances(emulated, features):
    with emulated():
        ours = drawn(torch.float32, features)
    assert_close(ours, drawn(torch.float64, features), image=1e-5, relative=1e-4)


@pytest.mark.parametrize("features", [0, 2])
def test_absolute_gradients(emulated, features):
    with emulated(seed=2):
        ours = drawn(features=features, absgrad=True)
    assert_close(ours, drawn(features=features, absgrad=True))


@pytest.mark.parametrize("options", [{}, {"alpha_min": 0.0, "alpha_max": 1.0, "transmittance_min": 0.0}])
def test_order_of_lanes_changes_no_more_than_rounding(emulated, options):
    theirs = drawn(**options)
    for seed in (3, 4):
        with emulated(seed):
            assert_close(drawn(**options), theirs)


@pytest.mark.parametrize("features", [0, 7])
def test_repeatable_sums(emulated, features):
    """With torch's deterministic algorithms: the same bits whatever the order of lanes, and the same values."""
    theirs = drawn(torch.float32, features, absgrad=True)
    torch.use_deterministic_algorithms(True)
    try:
        runs = []
        for seed in (0, 5, 6):
            with emulated(seed):
                runs.append(drawn(torch.float32, features, absgrad=True))
    finally:
        torch.use_deterministic_algorithms(False)
    assert_close(runs[0], theirs, image=1e-5, relative=1e-4)
    for run in runs[1:]:
        assert torch.equal(run[0], runs[0][0])
        assert all(torch.equal(run[2][name], runs[0][2][name]) for name in run[2] if name != "backgrounds")


def test_repeatable_sums_from_the_drawing_on(emulated):
    with emulated():
        splats, cameras = random_scene(**SIZE)
        splats.means.requires_grad_()
        image = render(splats, cameras, RenderConfig(backend="native")).colors
        torch.use_deterministic_algorithms(True)
        try:
            with pytest.raises(RuntimeError, match="turn deterministic algorithms on before the drawing"):
                image.sum().backward()
        finally:
            torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(
    ("visible", "intersections", "enough"), [(500, 3000, True), (40, 3000, False), (500, 50, False)]
)
def test_given_capacities(emulated, monkeypatch, visible, intersections, enough):
    """Slack changes nothing, and what is beyond a capacity is left out without harm."""
    theirs = drawn(features=1)
    counts = []

    def with_capacities(*arguments):
        image, alphas, state = rasterizer.rasterize(*arguments, visible, intersections)
        counts.append(_ops.true_counts(state).tolist())
        return image, alphas, state

    with emulated(seed=7):
        monkeypatch.setattr(_ops, "rasterize", with_capacities)
        ours = drawn(features=1)
    assert 40 < counts[0][0] <= 120 and 50 < counts[0][1] < 3000
    if enough:
        assert_close(ours, theirs)
    else:
        assert all(torch.isfinite(t).all() for t in (ours[0], *ours[2].values()))
        assert not torch.equal(ours[0], theirs[0])
