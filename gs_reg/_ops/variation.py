"""Total variation of a map with holes, in one pass forward and one backward."""

from __future__ import annotations

import torch
from torch import Tensor

from gs_reg._library import _fields, _Struct
from gs_reg._ops._args import call, common, point
from gs_reg._ops._eager import operator


class Variation(_Struct):
    _fields_ = _fields("""
        u32 struct_size
        i32 is_double threads width height
        i64 C
        f64 edge
        ptr map valid layers guide sums v_sums v_map
    """)


def _variation(map_: Tensor, valid: Tensor, layers: Tensor | None, guide: Tensor | None, edge: float):
    """The struct, and the tensors it points to."""
    ins = tuple(None if t is None else t.contiguous() for t in (map_, valid, layers, guide))
    C, H, W = map_.shape
    args = Variation(**common(map_), width=W, height=H, C=C, edge=edge)
    point(args, map=ins[0], valid=ins[1], layers=ins[2], guide=ins[3])
    return args, ins


@operator("gs_reg::variation")
def variation(map_: Tensor, valid: Tensor, layers: Tensor | None, guide: Tensor | None, edge: float) -> Tensor:
    """Sums [2,4] (float64) over pairs of neighbours of a map [C,H,W], along rows, then columns: of |difference| by
    weight, of 1; and both over the pairs that lie in one of `layers` (uint8).

    A pair counts if both ends are `valid` (bool). It weighs exp(-d / edge), with d the mean absolute difference of the
    three channels of the guide [C,H,W,3], or 1 without one.
    """
    args, _alive = _variation(map_, valid, layers, guide, edge)
    sums = map_.new_empty(2, 4, dtype=torch.float64)
    point(args, sums=sums)
    call("gsr_total_variation", args, map_)
    return sums


@variation.register_fake
def _(map_, valid, layers, guide, edge):
    return map_.new_empty(2, 4, dtype=torch.float64)


@operator("gs_reg::variation_vjp")
def variation_vjp(
    map_: Tensor, valid: Tensor, layers: Tensor | None, guide: Tensor | None, edge: float, v_sums: Tensor
) -> Tensor:
    """Gradient of the map."""
    args, _alive = _variation(map_, valid, layers, guide, edge)
    v_sums, out = v_sums.contiguous(), torch.empty_like(map_, memory_format=torch.contiguous_format)
    point(args, v_sums=v_sums, v_map=out)
    call("gsr_total_variation_vjp", args, map_)
    return out


@variation_vjp.register_fake
def _(map_, valid, layers, guide, edge, v_sums):
    return torch.empty_like(map_, memory_format=torch.contiguous_format)


def _setup(ctx, inputs, output):
    *tensors, ctx.edge = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx, v_sums):
    return variation_vjp(*ctx.saved_tensors, ctx.edge, v_sums), None, None, None, None


variation.register_autograd(_backward, setup_context=_setup)
