"""Sums of maps over each splat's pixels: against brute force, and against the gradient of compositing."""

from dataclasses import replace

import pytest
import torch

from gs_reg import _ops
from gs_reg.geometry import pixel_centers
from gs_reg.render import RenderConfig, composite, lift, project
from gs_reg.types import Cameras
from tests.instruction_sets import ORDER, run_on

from .scenes import random_scene

CHANNELS = [1, 3, 4, 8, 21]
SMOOTH = {"alpha_min": 0.0, "alpha_max": 1.0, "transmittance_min": 0.0}


def scene(dtype=torch.float64, backend="native", cameras=2, **options):
    splats, cameras = random_scene(cameras=cameras, width=75, height=61)
    with torch.no_grad():
        return project(splats.to(dtype=dtype), cameras.to(dtype=dtype), RenderConfig(backend=backend, **options))


def maps_of(projected, channels):
    generator = torch.Generator().manual_seed(channels)
    shape = (len(projected.depths), projected.height, projected.width, channels)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(projected.means2d)


def by_gradient(projected, maps):
    """The gradient of (image * maps).sum() with respect to features, and with a map of ones that of the weights."""
    features = projected.means2d.new_zeros(*projected.depths.shape, maps.shape[-1] + 1).requires_grad_()
    ones = torch.ones_like(maps[..., :1])
    image, _ = composite(projected, features)
    (gradient,) = torch.autograd.grad((image * torch.cat([maps, ones], -1)).sum(), features)
    return gradient[..., :-1], gradient[..., -1]


def by_brute_force(projected, maps):
    """Pixel after pixel and splat after splat, in plain Python; sums, weights and largest weights."""
    p, c = projected, projected.config
    C, N = p.depths.shape
    sums, weights, largest = (p.depths.new_zeros(s) for s in ((C, N, maps.shape[-1]), (C, N), (C, N)))
    centers = pixel_centers(p.width, p.height, p.means2d)
    for camera in range(C):
        seen = (p.radii[camera] > 0).all(-1).nonzero()[:, 0].tolist()
        for row in range(p.height):
            for column in range(p.width):
                left = 1.0
                for n in sorted(seen, key=lambda n: float(p.depths[camera, n].float())):
                    dx, dy = (p.means2d[camera, n] - centers[row, column]).tolist()
                    a, b, d = p.conics[camera, n].tolist()
                    power = torch.tensor(-0.5 * (a * dx * dx + d * dy * dy) - b * dx * dy, dtype=torch.float64)
                    alpha = min(float(p.opacities[camera, n] * power.exp()), c.alpha_max)
                    if alpha < c.alpha_min:
                        continue
                    if left * (1 - alpha) <= c.transmittance_min:
                        break
                    w, left = left * alpha, left * (1 - alpha)
                    sums[camera, n] += w * maps[camera, row, column]
                    weights[camera, n] += w
                    largest[camera, n] = max(float(largest[camera, n]), w)
    return sums, weights, largest


def assert_same(found, wanted, limit=1e-10):
    for name, want in zip(("sums", "weights", "largest"), wanted, strict=False):
        got = getattr(found, name)
        assert want.abs().sum() > 0, name
        assert (got.double() - want).norm() <= limit * want.norm(), name


def test_brute_force():
    splats, cameras = random_scene(count=30, cameras=2, width=19, height=13)
    for backend in ("native", "reference"):
        projected = project(splats, cameras, RenderConfig(backend=backend))
        maps = maps_of(projected, 2)
        found, wanted = lift(projected, maps), by_brute_force(projected, maps)
        assert_same(found, wanted)
        unseen = ~(projected.radii > 0).all(-1)
        assert unseen.any() and not any(t[unseen].any() for t in (found.sums, found.weights, found.largest))


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("options", [{}, SMOOTH, {"mode": "antialiased", "camera_model": "ortho"}])
def test_is_the_gradient_of_compositing(channels, options):
    projected = scene(cameras=3, **options)
    maps = maps_of(projected, channels)
    assert_same(lift(projected, maps), by_gradient(projected, maps))
    theirs = lift(scene(backend="reference", cameras=3, **options), maps)
    assert_same(lift(projected, maps), (theirs.sums, theirs.weights, theirs.largest))


@pytest.mark.parametrize("channels", CHANNELS)
def test_float32_within_tolerances(channels):
    projected = scene(torch.float32)
    maps = maps_of(projected, channels)
    theirs = lift(scene(backend="reference"), maps.double())
    assert_same(lift(projected, maps), (theirs.sums, theirs.weights, theirs.largest), limit=2e-5)


@pytest.mark.parametrize("isa", ORDER)
def test_each_instruction_set(isa):
    code = (
        "import torch; from tests.render.test_lift import *\n"
        "for channels in CHANNELS:\n"
        "    maps = maps_of(scene(), channels)\n"
        "    theirs = lift(scene(backend='reference'), maps)\n"
        "    assert_same(lift(scene(), maps), by_gradient(scene(), maps))\n"
        "    wanted = (theirs.sums, theirs.weights, theirs.largest)\n"
        "    assert_same(lift(scene(), maps), wanted)\n"
        "    assert_same(lift(scene(torch.float32), maps.float()), wanted, limit=2e-5)\n"
    )
    run_on(isa, code)


def test_a_lone_splat_by_hand():
    """With an opacity of 0.5 and far wider than the image, it weighs next to 0.5 everywhere."""
    splats, cameras = random_scene(count=1, cameras=1, width=5, height=3)
    splats.means[:], splats.log_scales[:], splats.opacity_logits[:] = 0.0, 8.0, 0.0
    splats.means[:, 2] = 2.0
    projected = project(splats, cameras)
    found = lift(projected, torch.arange(30, dtype=torch.float64).reshape(1, 3, 5, 2))
    torch.testing.assert_close(found.weights, torch.full((1, 1), 7.5, dtype=torch.float64), rtol=1e-4, atol=0)
    torch.testing.assert_close(found.largest, torch.full((1, 1), 0.5, dtype=torch.float64), rtol=1e-4, atol=0)
    want = torch.tensor([[[105.0, 112.5]]], dtype=torch.float64)
    torch.testing.assert_close(found.sums, want, rtol=1e-4, atol=0)


@pytest.mark.parametrize("channels", [0, 1, 8, 21])
@pytest.mark.parametrize("backend", ["native", "reference"])
def test_nothing_to_lift(backend, channels):
    splats, cameras = random_scene(count=12)
    config = RenderConfig(backend=backend)
    behind = replace(splats, means=splats.means - torch.tensor([0.0, 0.0, 50.0], dtype=torch.float64))
    no_camera = Cameras(cameras.viewmats[:0], cameras.Ks[:0], 75, 64)
    no_pixel = Cameras(cameras.viewmats, cameras.Ks, 0, 0)
    for some, views in (
        (splats.rows(slice(0)), cameras),
        (behind, cameras),
        (splats, no_camera),
        (splats, no_pixel),
    ):
        projected = project(some, views, config)
        found = lift(projected, maps_of(projected, channels))
        assert found.sums.shape == (len(views), len(some), channels)
        assert found.weights.shape == found.largest.shape == (len(views), len(some))
        assert not any(t.any() for t in (found.sums, found.weights, found.largest))


def test_same_bits_for_any_number_of_threads():
    before, projected = torch.get_num_threads(), scene(torch.float32)
    try:
        for channels in (8, 21):
            results = []
            for threads in (1, 2, 7):
                torch.set_num_threads(threads)
                found = lift(projected, maps_of(projected, channels))
                results.append((found.sums, found.weights, found.largest))
            for other in results[1:]:
                assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
    finally:
        torch.set_num_threads(before)


def test_it_carries_no_gradient():
    splats, cameras = random_scene(count=9)
    projected = project(replace(splats, means=splats.means.requires_grad_()), cameras)
    assert projected.means2d.requires_grad
    found = lift(projected, maps_of(projected, 2).requires_grad_())
    assert not any(t.requires_grad for t in (found.sums, found.weights, found.largest))


def test_wrong_inputs_have_clear_errors():
    projected = scene()
    with pytest.raises(ValueError, match=r"maps: expected \[2, 61, 75, 3\], got \[2, 61, 74, 3\]"):
        lift(projected, maps_of(projected, 3)[:, :, :-1])
    with pytest.raises(TypeError, match="maps: expected the dtype of means2d"):
        lift(projected, maps_of(projected, 3).float())
    with pytest.raises(ValueError, match="backend gsplat"):
        lift(replace(projected, config=RenderConfig(backend="gsplat")), maps_of(projected, 3))


def test_opcheck():
    p = scene(torch.float64)
    arguments = (p.means2d, p.shapes, p.depths, p.radii, maps_of(p, 3), 1 / 255, 0.999, 1e-4)
    torch.library.opcheck(_ops.lift.library_op, arguments)
