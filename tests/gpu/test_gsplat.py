"""The gsplat backend where there is no GPU: how arguments map, what is refused, and that looking changes nothing."""

import dataclasses
import sys

import pytest
import torch

from gs_reg.errors import MissingPart
from gs_reg.render import RenderConfig, gsplat, render
from gs_reg.types import Splats

from ..render.scenes import random_scene


@pytest.fixture
def calls(monkeypatch):
    """Replaces gsplat.rasterization by one that records its arguments and draws nothing."""
    made = []

    def rasterization(means, quats, scales, opacities, colors, viewmats, Ks, width, height, **options):
        made.append({"quats": quats, "scales": scales, "colors": colors, "width": width, "height": height, **options})
        C, N, D = colors.shape
        meta = {"means2d": torch.zeros(C, N, 2), "radii": torch.zeros(C, N, 2, dtype=torch.int32)}
        return torch.zeros(C, height, width, D), torch.zeros(C, height, width, 1), meta

    monkeypatch.setattr(gsplat, "_rasterization", lambda device: rasterization)
    return made


def drawn(features=None, background=None, **options):
    splats, cameras = random_scene(count=9, width=20, height=10)
    splats, cameras = splats.to(dtype=torch.float32), cameras.to(dtype=torch.float32)
    return render(splats, cameras, RenderConfig(backend="gsplat", **options), features=features, backgrounds=background)


def test_every_field_reaches_gsplat(calls):
    options = {"near": 0.5, "far": 9.0, "radius_clip": 2.0, "eps2d": 0.1, "absgrad": True}
    out = drawn(torch.ones(9, 40), torch.ones(2, 3), mode="antialiased", camera_model="ortho", **options)
    (call,) = calls
    assert (call["near_plane"], call["far_plane"], call["radius_clip"], call["eps2d"]) == (0.5, 9.0, 2.0, 0.1)
    assert call["rasterize_mode"] == "antialiased" and call["camera_model"] == "ortho" and not call["packed"]
    # all 44 channels in one pass, or it would keep the absolute gradients of the last 12 alone
    assert call["absgrad"] and call["channel_chunk"] == 44
    assert call["backgrounds"].sum(-1).tolist() == [3, 3] and call["backgrounds"].shape == (2, 44)
    assert out.colors.shape == (2, 10, 20, 3) and out.features.shape == (2, 10, 20, 40)
    assert out.depths.shape == out.alphas.shape == (2, 10, 20, 1)


def test_every_field_is_honoured_or_refused():
    """A new field must be thought of here too."""
    passed = {"near", "far", "radius_clip", "eps2d", "mode", "camera_model", "absgrad"}
    above_the_backends = {"backend", "sh_degree", "supersample"}
    fields = {field.name for field in dataclasses.fields(RenderConfig)}
    assert fields == passed | above_the_backends | set(gsplat.FIXED)


def test_depth_is_a_channel(calls):
    drawn(sh_degree=0)
    splats, _ = random_scene(count=9, width=20, height=10)
    assert calls[0]["colors"].shape == (2, 9, 4) and calls[0]["channel_chunk"] == 32
    torch.testing.assert_close(calls[0]["colors"][0, :, 3], splats.means[:, 2].float())


def test_warped_shapes_go_as_covariances(calls):
    drawn()
    assert calls[0]["covars"] is None and calls[0]["quats"].shape == (9, 4) and calls[0]["scales"].shape == (9, 3)
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
    covars = calls[1]["covars"]
    assert calls[1]["quats"] is None and calls[1]["scales"] is None
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
    assert calls == []


def test_float64_and_too_many_channels_are_refused(calls):
    splats, cameras = random_scene(count=9)
    with pytest.raises(TypeError, match="float32"):
        render(splats, cameras, RenderConfig(backend="gsplat"))
    with pytest.raises(ValueError, match="absgrad"):
        drawn(torch.ones(9, 600), absgrad=True)
    assert calls == []


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
