"""A row with a number that means nothing is left out: the picture and all gradients are those of the other rows."""

import math
from dataclasses import replace

import pytest
import torch

from gs_reg.render import RenderConfig, render
from gs_reg.sh import sh_sums
from tests.instruction_sets import ORDER, run_on

from .scenes import leaves, random_scene, random_warps, rebuilt

ROW, COUNT = 34, 40
BAD = [
    ("means", math.nan),
    ("means", math.inf),
    ("quats", math.nan),
    ("quats", -math.inf),
    ("quats", 0.0),
    ("log_scales", math.nan),
    ("log_scales", math.inf),
    ("log_scales", 70.0),  # beyond the largest scale
    ("log_scales", 89.0),  # infinite as a scale in single precision
    ("log_scales", 710.0),  # ... in double precision
    ("opacity_logits", math.nan),
    ("sh", math.nan),
    ("sh", math.inf),
    ("warps", math.nan),
    ("features", math.nan),
    ("features", -math.inf),
    ("colors", math.nan),
    ("colors", math.inf),
]


def drawn(bad=None, backend="native", dtype=torch.float64, features=1, without=None):
    """The picture and all gradients, where one row has a bad number, or is left out from the start."""
    splats, cameras = random_scene(COUNT, 29, 31)
    splats = replace(splats, warps=random_warps(COUNT) if bad and bad[0] == "warps" else None)
    leaf = {k: v.detach().to(dtype) for k, v in leaves(splats, cameras).items()}
    generator = torch.Generator().manual_seed(4)
    for name, shape in (
        ("features", (COUNT, features)),
        ("colors", (2, COUNT, 3)),
        ("image", (2, 31, 29, 5 + features)),
    ):
        leaf[name] = torch.rand(*shape, generator=generator, dtype=torch.float64).to(dtype)
    weights = leaf.pop("image")
    if bad and bad[0] == "quats":
        leaf["quats"][ROW] = bad[1]
    elif bad:
        leaf[bad[0]][(0, ROW, 1) if bad[0] == "colors" else (ROW, *[0] * (leaf[bad[0]].ndim - 1))] = bad[1]
    if without is not None:
        rest = torch.arange(COUNT) != without
        leaf = {k: v if k == "viewmats" else v[:, rest] if k == "colors" else v[rest] for k, v in leaf.items()}
    leaf = {k: v.requires_grad_() for k, v in leaf.items()}
    given, cameras = rebuilt(leaf, cameras)
    if bad and bad[0] == "colors":
        given = replace(given, colors=leaf["colors"])
    out = render(given, cameras, RenderConfig(backend=backend), features=leaf["features"])
    (torch.cat([out.colors, out.alphas, out.depths, out.features], -1) * weights).sum().backward()
    return out, {k: v.grad for k, v in leaf.items() if v.grad is not None}, given


def left_out(bad, backend="native", dtype=torch.float64, features=1):
    """Asserts that a row with a bad number counts as one that is not there."""
    ours, gradients, splats = drawn(bad, backend, dtype, features)
    assert splats.finite.tolist() == [row != ROW or bad[0] == "features" for row in range(COUNT)]
    if bad[0] == "colors":  # of one camera alone
        theirs = drawn((*bad[:1], 0.5), backend, dtype, features)[0]
        assert torch.equal(ours.alphas[1], theirs.alphas[1]) and not torch.equal(ours.alphas[0], theirs.alphas[0])
        assert all(torch.isfinite(t).all() for t in (ours.colors, ours.depths, *gradients.values()))
        assert not gradients["colors"][0, ROW].any() and gradients["colors"][1, ROW].any()
        return
    theirs, want, _ = drawn((bad[0], 0.25), backend, dtype, features, without=ROW)
    close = {"rtol": 1e-9, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-4}
    for name in ("colors", "alphas", "depths", "features"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), **close)
    rest = torch.arange(COUNT) != ROW
    for name, gradient in gradients.items():
        assert torch.isfinite(gradient).all(), name
        assert want[name].any() or not want[name].numel(), name
        if name == "viewmats":
            torch.testing.assert_close(gradient, want[name], **close)
        else:
            assert not gradient[ROW].any(), name
            torch.testing.assert_close(gradient[rest], want[name], **close)


def test_the_row_is_one_that_shows():
    assert not torch.allclose(drawn()[0].colors, drawn(without=ROW)[0].colors, atol=0.01)


@pytest.mark.parametrize("bad", BAD, ids=str)
@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_left_out(bad, backend, dtype):
    left_out(bad, backend, dtype)


@pytest.mark.parametrize("features", [0, 5, 9, 40])  # 4, 9, 13 and 44 channels in all: in the record and beside it
def test_left_out_with_any_number_of_channels(features):
    for bad in [("sh", math.nan)] + [("features", math.inf)] * (features > 0):
        left_out(bad, features=features)


@pytest.mark.parametrize("isa", ORDER)
def test_left_out_on_every_instruction_set(isa):
    code = "from tests.render.test_nonfinite import *\nfor bad in BAD: left_out(bad, dtype=torch.float32)"
    run_on(isa, code)


@pytest.mark.parametrize("degree", [0, 2])
def test_sums_of_harmonics_keep_what_they_cannot_name_to_their_row(degree):
    generator = torch.Generator().manual_seed(1)
    sh, means, centers = (torch.randn(*s, generator=generator) for s in ((6, 9, 4), (6, 3), (2, 3)))
    sh[2, 0, 3] = math.nan
    for leaf in (sh, means, centers):
        leaf.requires_grad_()
    sums = sh_sums(sh, means, centers, degree)
    assert sums.isfinite().all(-1).tolist() == [[row != 2 for row in range(6)]] * 2
    sums.sum().backward()
    assert sh.grad.isfinite().all() and not sh.grad[2].any() and sh.grad[3].any()
    for grad in (means.grad, centers.grad):
        assert grad is None or (grad.isfinite().all() and grad.any() == (degree > 0))
