"""Gaussians on rays against the plain torch formulas."""

import pytest
import torch

from gs_reg import _ops

RANGE = 0.5


def rows(count, dtype=torch.float64):
    generator = torch.Generator().manual_seed(count)
    shapes = [(count,), (count,), (count, 3), (count, 3), (count, 3)]
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes]


def reference(residual, log_start, origins, rays, log_sizes):
    logs = log_start + RANGE * torch.tanh(residual)
    return origins + logs.exp()[:, None] * rays, log_sizes + logs[:, None]


def along_rays(*rows):
    return _ops.along_rays(*rows, RANGE)


def gradients(function, inputs):
    leaves = [t.detach().clone() for t in inputs]
    residual, log_sizes = leaves[0].requires_grad_(), leaves[4].requires_grad_()
    means, log_scales = function(*leaves)
    (means.sin().sum() + log_scales.cos().sum()).backward()
    return means, log_scales, residual.grad, log_sizes.grad


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 9000])
def test_matches_torch(isa, count):
    inputs = rows(count)
    expected = gradients(reference, inputs)
    for got, want in zip(gradients(along_rays, inputs), expected, strict=True):
        torch.testing.assert_close(got, want, atol=1e-12, rtol=1e-12)
    single = [t.float() for t in inputs]
    for got, want in zip(along_rays(*single), reference(*single), strict=True):
        torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-6)
    # sin and cos of float32 means and logs, some of which are large
    for got, want in zip(gradients(along_rays, single)[2:], expected[2:], strict=True):
        torch.testing.assert_close(got.double(), want, atol=1e-4, rtol=1e-4)


def test_exp_and_tanh_in_float():
    x = torch.cat([torch.linspace(-30, 30, 20001), torch.logspace(-30, 0, 301), torch.tensor([0.0])])
    zero, ones = torch.zeros(len(x), 3), torch.ones(len(x), 3)
    tanh = _ops.along_rays(x, torch.zeros_like(x), zero, ones, zero, 1.0)[1][:, 0].double()
    torch.testing.assert_close(tanh, x.double().tanh(), atol=0, rtol=3e-7)
    exp = _ops.along_rays(torch.zeros_like(x), x, zero, ones, zero, 1.0)[0][:, 0].double()
    torch.testing.assert_close(exp, x.double().exp(), atol=0, rtol=3e-7)


def test_gradcheck():
    residual, log_start, origins, rays, log_sizes = rows(5)
    assert torch.autograd.gradcheck(
        lambda r, s: _ops.along_rays(r, log_start, origins, rays, s, RANGE),
        (residual.requires_grad_(), log_sizes.requires_grad_()),
    )


def test_same_bits_for_any_number_of_threads(isa):
    inputs, before, out = rows(20000, torch.float32), torch.get_num_threads(), []
    for threads in (1, 2, 7):
        torch.set_num_threads(threads)
        out.append(gradients(along_rays, inputs))
    torch.set_num_threads(before)
    for other in out[1:]:
        assert all(torch.equal(a, b) for a, b in zip(out[0], other, strict=True))


def test_opcheck():
    residual, log_start, origins, rays, log_sizes = rows(7)
    torch.library.opcheck(
        _ops.along_rays.library_op,
        (residual.requires_grad_(), log_start, origins, rays, log_sizes.requires_grad_(), RANGE),
    )
