"""Gradients of very long and thin splats in single precision, against double precision; and that against mpmath."""

import mpmath
import pytest
import torch

from gs_reg import _ops
from gs_reg.render import RenderConfig, render
from gs_reg.types import Cameras, Splats
from tests.instruction_sets import ORDER, run_on

WIDTH, HEIGHT, FOCAL = 640, 480, 500.0
SPREADS = {  # logarithms of the three standard deviations: from, to
    "needles": ((9, 10), (-2.5, -1.5), (-2.5, -1.5)),
    "hairs": ((-2, 3), (-7, -5), (-7, -5)),
    "discs": ((9, 10), (9, 10), (-2.5, -1.5)),
}


def thin(kind, count, seed=0):
    """Means, quaternions and log-scales, in front of the camera."""
    generator = torch.Generator().manual_seed(seed)

    def between(low, high):
        return low + (high - low) * torch.rand(count, generator=generator)

    means = torch.stack([between(-2, 2), between(-1.5, 1.5), between(2, 8)], -1)
    quats = torch.randn(count, 4, generator=generator)
    order = torch.rand(count, 3, generator=generator).argsort(1)  # any of the axes is the long one
    return means, quats, torch.stack([between(*spread) for spread in SPREADS[kind]], -1).gather(1, order)


def camera(dtype):
    K = torch.tensor([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]], dtype=dtype)
    return Cameras(torch.eye(4, dtype=dtype)[None], K[None], WIDTH, HEIGHT)


def pulled_back(shapes, v_conics, v_opacities, dtype, antialiased):
    """Gradients of means, quaternions and log-scales; and which rows are seen."""
    means, quats, log_scales = leaf = [t.to(dtype, copy=True).requires_grad_() for t in shapes]
    opacities, cam = torch.full((len(means),), 0.7, dtype=dtype), camera(dtype)
    settings = (WIDTH, HEIGHT, 0.01, 1e10, 0.0, 0.3, 1 / 255, antialiased, False)
    outs = _ops.project(means, quats, log_scales.exp(), opacities, None, cam.viewmats, cam.Ks, *settings)
    loss = (outs[2][0] * v_conics.to(dtype)).sum() + (outs[3][0] * v_opacities.to(dtype)).sum()
    return torch.autograd.grad(loss, leaf), (outs[5][0] > 0).all(-1)


def relative_errors(ours, theirs, rows):
    errors = [(a.double() - b).norm(dim=1) / b.norm(dim=1) for a, b in zip(ours, theirs, strict=True)]
    return torch.stack(errors)[:, rows]


def bounded(kind, antialiased, count=4000):
    """Asserts that gradients are finite, and of each row and tensor near those in double precision."""
    shapes, generator = thin(kind, count), torch.Generator().manual_seed(1)
    v = torch.randn(count, 3, generator=generator), torch.randn(count, generator=generator)
    ours, seen = pulled_back(shapes, *v, torch.float32, antialiased)
    theirs, also = pulled_back(shapes, *v, torch.float64, antialiased)
    assert torch.equal(seen, also) and seen.sum() > 0.9 * count
    assert all(g.isfinite().all() for g in ours)
    errors = relative_errors(ours, theirs, seen)
    assert errors.median() < 2e-6 and errors.quantile(0.99) < 1e-4 and errors.max() < 0.1, (errors.max(), kind)


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("kind", SPREADS)
def test_single_precision(kind, antialiased):
    bounded(kind, antialiased)


@pytest.mark.parametrize("isa", ORDER)
def test_single_precision_on_every_instruction_set(isa):
    code = "from tests.render.test_needles import *\nfor k in SPREADS: bounded(k, False, 1000), bounded(k, True, 1000)"
    run_on(isa, code)


@pytest.mark.parametrize("mode", ["classic", "antialiased"])
def test_single_precision_from_pixels_on(mode):
    """The gradient of the conic comes from pixels, most of them far along the needle."""
    count, generator = 200, torch.Generator().manual_seed(2)
    shapes, colors = thin("needles", count, seed=3), torch.rand(count, 1, 3, generator=generator)
    weights = torch.rand(1, HEIGHT, WIDTH, 3, generator=generator)

    def gradients(dtype):
        leaf = [t.to(dtype, copy=True).requires_grad_() for t in shapes]
        splats = Splats(*leaf, torch.full((count,), -3.5, dtype=dtype), colors.to(dtype))
        out = render(splats, camera(dtype), RenderConfig(mode=mode))
        return torch.autograd.grad((out.colors * weights.to(dtype)).sum(), leaf)

    theirs = gradients(torch.float64)
    rows = torch.stack([g.norm(dim=1) > 1e-9 for g in theirs]).all(0)
    errors = relative_errors(gradients(torch.float32), theirs, rows)
    assert rows.sum() > 0.9 * count
    assert errors.quantile(0.99) < 5e-3 and errors.max() < 0.1


def conic_by_mpmath(x):
    """a, b, c from mean, quaternion and log-scales, in 60 digits."""
    mx, my, mz, qw, qx, qy, qz = x[:7]
    norm = mpmath.sqrt(qw**2 + qx**2 + qy**2 + qz**2)
    w, i, j, k = qw / norm, qx / norm, qy / norm, qz / norm
    R = mpmath.matrix(
        [
            [1 - 2 * (j * j + k * k), 2 * (i * j - w * k), 2 * (i * k + w * j)],
            [2 * (i * j + w * k), 1 - 2 * (i * i + k * k), 2 * (j * k - w * i)],
            [2 * (i * k - w * j), 2 * (j * k + w * i), 1 - 2 * (i * i + j * j)],
        ]
    )
    J = mpmath.matrix([[FOCAL / mz, 0, -FOCAL * mx / mz**2], [0, FOCAL / mz, -FOCAL * my / mz**2]])
    M = J * R * mpmath.diag([mpmath.exp(s) for s in x[7:]])
    S = M * M.T + mpmath.mpf(0.3) * mpmath.eye(2)
    X = S**-1
    return X[0, 0], X[0, 1], X[1, 1]


@pytest.mark.parametrize("kind", SPREADS)
def test_double_precision_is_right(kind):
    count, v = 5, torch.tensor([0.7, -0.4, 0.5])
    shapes = thin(kind, count)
    shapes[0][:, 0] /= 2  # within the picture, where slopes are not clamped
    gradients, seen = pulled_back(shapes, v.expand(count, 3), torch.zeros(count), torch.float64, False)
    assert seen.all()
    for row in range(count):
        with mpmath.workdps(60):
            at = [mpmath.mpf(float(x)) for t in shapes for x in t[row]]

            def loss(n, step, at=at):
                moved = [x + step * (i == n) for i, x in enumerate(at)]
                return sum(float(f) * y for f, y in zip(v, conic_by_mpmath(moved), strict=True))

            h = mpmath.mpf(10) ** -20
            slopes = torch.tensor([float((loss(n, h) - loss(n, -h)) / (2 * h)) for n in range(10)]).double()
        for ours, theirs in zip((g[row] for g in gradients), slopes.split([3, 4, 3]), strict=True):
            assert (ours - theirs).norm() < 1e-6 * theirs.norm()
