"""The Laplacian of attributes on a graph, squared and summed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gs_reg._library import _fields, _Struct
from gs_reg._ops._args import call, common, point
from gs_reg._ops._eager import operator


class Graph(_Struct):
    _fields_ = _fields("""
        u32 struct_size
        i32 is_double threads
        i64 N F
        ptr offsets nodes weights excess factors features out sum
    """)


@operator("gs_reg::laplacian")
def laplacian(
    features: Tensor, factors: Tensor, edges: Sequence[Tensor], transposed: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Mean over nodes of sum_f a_f r_if^2 with r_i = sum_j w_ij (f_i - f_j), and a r, which backward reads.

    `factors` is a [F]; `edges` are offsets [N+1] (int64), nodes [E] (int32) and weights [E] by the node that an edge
    starts from; `transposed` the same by the node that it leads to, and [N] how much more a node weighs as a start.
    """
    out, total = _gather(features, factors, *edges, excess=None)
    return (total / max(len(features), 1)).to(features.dtype), out


def _gather(features, factors, offsets, nodes, weights, excess) -> tuple[Tensor, Tensor]:
    features, factors = features.contiguous(), factors.contiguous()
    out, total = torch.empty_like(features), features.new_zeros((), dtype=torch.float64)
    args = Graph(**common(features), N=features.shape[0], F=features.shape[1])
    point(args, offsets=offsets, nodes=nodes, weights=weights, excess=excess)
    point(args, factors=factors, features=features, out=out, sum=total)
    call("gsr_laplacian", args, features)
    return out, total


@laplacian.register_fake
def _(features, factors, edges, transposed):
    return features.new_empty(()), torch.empty_like(features, memory_format=torch.contiguous_format)


@operator("gs_reg::laplacian_vjp")
def laplacian_vjp(residual: Tensor, transposed: Sequence[Tensor], v_value: Tensor) -> Tensor:
    """Gradient of the features."""
    factor = 2 * v_value / max(len(residual), 1)
    return _gather(residual, factor.expand(residual.shape[1]), *transposed)[0]


@laplacian_vjp.register_fake
def _(residual, transposed, v_value):
    return torch.empty_like(residual)


def _setup(ctx, inputs, output):
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1], *inputs[3])


def _backward(ctx, v_value, _v_residual):
    residual, *transposed = ctx.saved_tensors
    return laplacian_vjp(residual, transposed, v_value), None, [None] * 3, [None] * 4


laplacian.register_autograd(_backward, setup_context=_setup)
