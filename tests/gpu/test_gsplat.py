"""The gsplat backend where there is no GPU: how arguments map, what is refused, and that looking changes nothing."""

import dataclasses
import sys

import pytest
import torch

from gs_reg.errors import MissingPart
from gs_reg.render import RenderConfig, gsplat, lift, project, render
from gs_reg.types import Splats

from ..render.scenes import random_scene


class Library:
    """Records what gsplat's functions are called with; draws nothing, and sees all splats but the first."""

    def __init__(self):
        self.projections, self.tiles, self.passes = [], [], []

    def fully_fused_projection(self, means, covars, quats, scales, viewmats, Ks, width, height, **options):
        given = {"covars": covars, "quats": quats, "scales": scales}
        self.projections.append({"width": width, "height": height, **given, **options})
        C, N = len(viewmats), len(means)
        radii = torch.ones(C, N, 2, dtype=torch.int32)
        radii[:, 0] = 0
        rows = [torch.full((C, N, *width), torch.nan) for width in ((2,), (), (3,))]
        depths = torch.einsum("cj,nj->cn", viewmats[:, 2, :3], means) + viewmats[:, 2, 3:]
        for tensor, value in zip(rows, (torch.tensor(1.0), depths[:, 1:], torch.tensor(1.0)), strict=True):
            tensor[:, 1:] = value
        return radii, *rows, torch.full((C, N), 0.5) if options["calc_compensations"] else None

    def isect_tiles(self, means2d, radii, depths, tile_size, tiles_x, tiles_y):
        self.tiles.append((tile_size, tiles_x, tiles_y))
        return torch.zeros(len(depths), 9), "ids", "flat"

    def isect_offset_encode(self, ids, images, tiles_x, tiles_y):
        assert ids == "ids"
        return torch.zeros(images, tiles_y, tiles_x, dtype=torch.int32)

    def rasterize_to_pixels(self, means2d, conics, colors, opacities, width, height, tile, offsets, flat, **options):
        assert flat == "flat"
        assert not any(t.isnan().any() for t in (means2d, conics, colors, opacities))
        self.passes.append({"colors": colors, "opacities": opacities, **options})
        C, _, D = colors.shape
        return torch.zeros(C, height, width, D), torch.zeros(C, height, width, 1)


@pytest.fixture
def calls(monkeypatch):
    """Replaces gsplat by a library that records."""
    library = Library()
    monkeypatch.setattr(gsplat, "_library", lambda device: library)
    return library


def drawn(features=None, background=None, **options):
    splats, cameras = random_scene(count=9, width=20, height=10)
    splats, cameras = splats.to(dtype=torch.float32), cameras.to(dtype=torch.float32)
    return render(splats, cameras, RenderConfig(backend="gsplat", **options), features=features, backgrounds=background)


def test_every_field_reaches_gsplat(calls):
    options = {"near": 0.5, "far": 9.0, "radius_clip": 2.0, "eps2d": 0.1, "absgrad": True}
    out = drawn(torch.ones(9, 40), torch.ones(2, 3), mode="antialiased", camera_model="ortho", **options)
    (call,) = calls.projections
    assert (call["near_plane"], call["far_plane"], call["radius_clip"], call["eps2d"]) == (0.5, 9.0, 2.0, 0.1)
    assert call["calc_compensations"] and call["camera_model"] == "ortho"
    assert (call["width"], call["height"]) == (20, 10) and call["opacities"].shape == (9,)
    assert calls.tiles == [(16, 2, 1)]
    # all 44 channels in one pass, or it would keep the absolute gradients of the last 12 alone
    (drawing,) = calls.passes
    assert drawing["absgrad"] and drawing["colors"].shape == (2, 9, 44)
    assert drawing["backgrounds"].sum(-1).tolist() == [3, 3] and drawing["backgrounds"].shape == (2, 44)
    torch.testing.assert_close(drawing["opacities"][:, 1:], 0.5 * call["opacities"][1:].expand(2, -1))
    assert out.colors.shape == (2, 10, 20, 3) and out.features.shape == (2, 10, 20, 40)
    assert out.depths.shape == out.alphas.shape == (2, 10, 20, 1)
    assert not out.means2d[:, 0].any() and not out.visible[:, 0].any()


def test_channels_go_in_passes(calls):
    drawn(torch.ones(9, 40), torch.ones(2, 3))
    assert [call["colors"].shape[-1] for call in calls.passes] == [32, 12]
    assert [call["backgrounds"].shape[-1] for call in calls.passes] == [32, 12]
    assert not any(call["absgrad"] for call in calls.passes)


def test_it_cannot_lift(calls):
    splats, cameras = random_scene(count=9, width=20, height=10)
    config = RenderConfig(backend="gsplat")
    projected = project(splats.to(dtype=torch.float32), cameras.to(dtype=torch.float32), config)
    with pytest.raises(ValueError, match="backend gsplat: it cannot lift"):
        lift(projected, torch.zeros(2, 10, 20, 3))


def test_every_field_is_honoured_or_refused():
    """A new field must be thought of here too."""
    passed = {"near", "far", "radius_clip", "eps2d", "mode", "camera_model", "absgrad"}
    above_the_backends = {"backend", "sh_degree", "supersample"}
    fields = {field.name for field in dataclasses.fields(RenderConfig)}
    assert fields == passed | above_the_backends | set(gsplat.FIXED)


def test_depth_is_a_channel(calls):
    drawn(sh_degree=0)
    splats, _ = random_scene(count=9, width=20, height=10)
    (call,) = calls.passes
    assert call["colors"].shape == (2, 9, 4)
    torch.testing.assert_close(call["colors"][0, 1:, 3], splats.means[1:, 2].float())


def test_warped_shapes_go_as_covariances(calls):
    drawn()
    plain = calls.projections[0]
    assert plain["covars"] is None and plain["quats"].shape == (9, 4) and plain["scales"].shape == (9, 3)
    _, cameras = random_scene(count=1, width=20, height=10)
    # axes 1, 2, 3 long; W takes x to 2 y, y to x and flattens z
    warps = torch.tensor([[[0.0, 1, 0], [2, 0, 0], [0, 0, 0]]], requires_grad=True)
    one = Splats(
        torch.zeros(1, 3),
        torch.tensor([[2.0, 0, 0, 0]]),
        torch.tensor([[1.0, 2, 3]]).log(),
        torch.zeros(1),
        torch.zeros(1, 1, 3),
        warps=warps,
    )
    render(one, cameras.to(dtype=torch.float32), RenderConfig(backend="gsplat"))
    warped = calls.projections[1]
    covars = warped["covars"]
    assert warped["quats"] is None and warped["scales"] is None
    torch.testing.assert_close(covars, torch.tensor([[[4.0, 0, 0], [0, 4, 0], [0, 0, 0]]]))
    # d(W D W^T)_yy / dW_yx = 2 W_yx D_xx
    (gradient,) = torch.autograd.grad(covars[0, 1, 1], warps)
    torch.testing.assert_close(gradient[0], torch.tensor([[0.0, 0, 0], [4, 0, 0], [0, 0, 0]]))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"alpha_min": 0.0}, "alpha_min"),
        ({"alpha_max": 0.9}, "alpha_max"),
        ({"transmittance_min": 0.0}, "transmittance"),
    ],
)
def test_built_in_cutoffs_are_refused(calls, options, name):
    with pytest.raises(ValueError, match=name):
        drawn(**options)
    assert calls.projections == calls.passes == []


def test_float64_and_too_many_channels_are_refused(calls):
    splats, cameras = random_scene(count=9)
    with pytest.raises(TypeError, match="float32"):
        render(splats, cameras, RenderConfig(backend="gsplat"))
    with pytest.raises(ValueError, match="absgrad"):
        drawn(torch.ones(9, 600), absgrad=True)
    assert calls.passes == []


def test_on_the_cpu_it_says_what_to_use():
    with pytest.raises(MissingPart, match="native"):
        drawn()


@pytest.mark.parametrize(
    ("cuda", "found", "nvcc", "text"),
    [
        (None, ("gsplat", "packaging"), True, "CPU build"),
        ("13.0", ("packaging",), True, "gsplat is not installed"),
        ("13.0", ("gsplat",), True, "packaging is not installed"),
        ("13.0", ("gsplat", "packaging"), False, "nvcc"),
        ("13.0", ("gsplat", "packaging"), True, None),
    ],
)
def test_probe(monkeypatch, cuda, found, nvcc, text):
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(gsplat.importlib.util, "find_spec", lambda name: object() if name in found else None)
    monkeypatch.setattr(gsplat, "_has_kernels", lambda: False)
    monkeypatch.setattr(gsplat, "_nvcc", lambda: nvcc)
    before = set(sys.modules)
    why = gsplat.missing()
    assert (why is None) == (text is None) and (why is None or text in why[0])
    assert "gsplat" not in set(sys.modules) - before
