"""Gaussians along rays: the CUDA kernels, emulated, against the CPU library."""

import pytest
import torch

from gs_reg import _ops


def drawn(dtype):
    torch.manual_seed(0)
    inputs = [torch.randn(300, dtype=dtype) for _ in range(2)] + [torch.randn(300, 3, dtype=dtype) for _ in range(3)]
    inputs[0].requires_grad_(), inputs[4].requires_grad_()
    out = _ops.along_rays(*inputs, 0.3)
    sum((o * torch.randn_like(o)).sum() for o in out).backward()
    return *out, inputs[0].grad, inputs[4].grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_along_rays(emulated, dtype):
    with emulated():
        ours = drawn(dtype)
    for a, b in zip(ours, drawn(dtype), strict=True):
        torch.testing.assert_close(a, b)
