"""Spherical harmonics against the plain torch formulas."""

import pytest
import torch

from gs_reg import _ops
from gs_reg.sh import sh_colors, sh_sums, sh_sums_reference


def scene(count, degree, channels, cameras=2, dtype=torch.float64, spare=0):
    generator = torch.Generator().manual_seed(count + degree)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    return draw(count, (degree + 1 + spare) ** 2, channels), draw(count, 3), draw(cameras, 3)


def gradients(function, sh, means, centers, degree, *settings):
    leaves = [t.detach().clone().requires_grad_() for t in (sh, means, centers)]
    out = function(*leaves, degree, *settings)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    (out * weights).sum().backward()
    return out, *[torch.zeros_like(t) if t.grad is None else t.grad for t in leaves]


@pytest.mark.parametrize("degree", range(5))
@pytest.mark.parametrize("channels", [1, 3, 8, 15])
@pytest.mark.parametrize(("bias", "clamp"), [(0.5, True), (0.0, False), (-0.3, False), (0.1, True)])
def test_matches_torch(isa, degree, channels, bias, clamp):
    inputs = scene(50, degree, channels, spare=1)  # coefficients of a degree that is not drawn
    expected = gradients(sh_sums_reference, *inputs, degree, bias, clamp)
    assert clamp == bool((expected[0] >= 0).all())
    for got, want in zip(gradients(sh_sums, *inputs, degree, bias, clamp), expected, strict=True):
        torch.testing.assert_close(got, want, atol=1e-12, rtol=1e-11)
    single = gradients(sh_sums, *[t.float() for t in inputs], degree, bias, clamp)
    for got, want in zip(single, expected, strict=True):
        assert (got - want).norm() <= 1e-5 * want.norm() + 1e-6


def test_values_by_hand():
    """One splat straight ahead of the centre: of degree 1 only the basis function of z is left."""
    sh = torch.tensor([[[1.0, -2.0], [5.0, 5.0], [0.5, 0.25], [7.0, 7.0]]])
    means, centers = torch.tensor([[0.0, 0.0, 3.0]]), torch.zeros(1, 3)
    want = torch.tensor([0.28209479177387814 + 0.5 * 0.4886025119029199, -0.5641895835477563 + 0.12215062797572998])
    torch.testing.assert_close(sh_sums(sh, means, centers, 1)[0, 0], want)
    torch.testing.assert_close(sh_sums(sh, means, centers, 1, bias=0.1)[0, 0], want + 0.1)
    torch.testing.assert_close(sh_sums(sh, means, centers, 1, clamp=True)[0, 0], want.clamp_min(0))
    torch.testing.assert_close(sh_colors(sh, means, centers, 1)[0, 0], (want + 0.5).clamp_min(0))
    with pytest.raises(ValueError, match="sh_degree: expected at most 1"):
        sh_sums(sh, means, centers, 2)


@pytest.mark.parametrize("count", [0, 2, 3, 8, 15, 17])
def test_coefficients_that_are_no_square_are_refused(count):
    with pytest.raises(ValueError, match=rf"sh: expected \(degree \+ 1\)\^2 .*got \[N, {count}, D\]"):
        sh_sums(torch.zeros(2, count, 3), torch.zeros(2, 3), torch.ones(1, 3), 0)


@pytest.mark.parametrize("degree", [-1, -5, 2])
def test_degrees_out_of_bounds_are_refused(degree):
    with pytest.raises(ValueError, match=r"sh_degree: expected"):
        sh_sums(torch.zeros(2, 4, 3), torch.zeros(2, 3), torch.ones(1, 3), degree)


@pytest.mark.parametrize("degree", range(5))
def test_gradcheck_without_clamp(degree):
    inputs = [t.requires_grad_() for t in scene(4, degree, 2)]
    depths = torch.rand(2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *t: _ops.sh_channels(*t, degree, 0.0, False), (*inputs, depths))


def test_depths_are_the_last_channel():
    sh, means, centers = scene(30, 2, 3)
    depths = torch.rand(2, 30, dtype=torch.float64)
    out = _ops.sh_channels(sh, means, centers, depths, 2, 0.5, True)
    assert torch.equal(out[..., :3], sh_colors(sh, means, centers, 2)) and torch.equal(out[..., 3], depths)


@pytest.mark.parametrize("degree", range(5))
def test_at_the_camera_only_degree_0_counts(degree):
    sh, means, _ = scene(5, degree, 3)
    got = gradients(sh_colors, sh, means, means[:1].clone(), degree)
    torch.testing.assert_close(got[0][0, 0], sh_colors(sh, means, means[:1], 0)[0, 0])
    assert all(torch.isfinite(t).all() for t in got)


def test_nothing_is_clamped_away_and_nan_passes():
    sh = torch.tensor([[[-10.0, 10.0, float("nan")]]])
    out = sh_colors(sh, torch.zeros(1, 3), torch.zeros(1, 3), 0)[0, 0]
    assert out[0] == 0 and out[1] > 1 and out[2].isnan()
    gradient = gradients(sh_colors, sh[..., :2], torch.zeros(1, 3), torch.zeros(1, 3), 0)[1]
    assert gradient[0, 0, 0] == 0 and gradient[0, 0, 1] != 0


@pytest.mark.parametrize(("count", "cameras"), [(0, 2), (5, 0)])
def test_empty(count, cameras):
    out, *grads = gradients(sh_colors, *scene(count, 1, 3, cameras), 1)
    assert out.shape == (cameras, count, 3) and all((g == 0).all() for g in grads)


def test_same_bits_for_any_number_of_threads(isa):
    inputs, before, out = scene(5000, 3, 3, dtype=torch.float32), torch.get_num_threads(), []
    for threads in (1, 2, 7):
        torch.set_num_threads(threads)
        out.append(gradients(sh_colors, *inputs, 3))
    torch.set_num_threads(before)
    for other in out[1:]:
        assert all(torch.equal(a, b) for a, b in zip(out[0], other, strict=True))


def test_opcheck():
    inputs = [t.requires_grad_() for t in scene(6, 2, 3)]
    torch.library.opcheck(_ops.sh_channels.library_op, (*inputs, torch.rand(2, 6, dtype=torch.float64), 2, 0.5, True))
    torch.library.opcheck(_ops.sh_channels.library_op, (*inputs, None, 0, 0.5, True))
