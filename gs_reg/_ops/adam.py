"""Adam in place, for rows that were seen alone."""

from __future__ import annotations

from torch import Tensor

from gs_reg._library import _fields, _Struct
from gs_reg._ops._args import call, common, point


class AdamRows(_Struct):
    _fields_ = _fields("""
        u32 struct_size
        i32 is_double threads
        i64 N width
        f64 lr beta1 beta2 eps rest1 rest2
        ptr now row_steps visible counts
        i64 most_visible most_intersections
        ptr gradients values exp_avg exp_avg_sq
    """)


def adam(
    values: Tensor,
    gradients: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    step: int | None = None,
    row_steps: Tensor | None = None,
    visible: Tensor | None = None,
    now: Tensor | None = None,
    counts: Tensor | None = None,
    most: tuple[int, int] = (0, 0),
) -> None:
    """One step for N contiguous rows, or those of `visible` (bool [N]), of which the others are left as they are.

    The means are corrected for their start by `step` (1 at the first), by `row_steps` (int32 [N], this step included),
    or, without either, not at all, as gsplat does it. `now` (float64 [3]: lr, 1 - beta1^t, 1 - beta2^t) stands in for
    lr and step where they must be on the device, as in a CUDA graph. Nothing is done where a drawing's `true_counts`
    are more than the `most` that memory was taken for: the caller takes more and repeats the step. Both are for CUDA.
    """
    _check(values=values, exp_avg=exp_avg, exp_avg_sq=exp_avg_sq)
    rows = values.shape[0]
    _check_shapes(values.shape, gradients=gradients, exp_avg=exp_avg, exp_avg_sq=exp_avg_sq)
    _check_shapes((rows,), row_steps=row_steps, visible=visible)
    gradients = gradients.contiguous()
    rests = _rests(step, betas)
    args = AdamRows(**common(values), N=rows, width=values.numel() // rows if rows else 1)
    args.lr, (args.beta1, args.beta2), args.eps, (args.rest1, args.rest2) = lr, betas, eps, rests
    point(args, now=now, row_steps=row_steps, visible=visible, gradients=gradients, counts=counts)
    args.most_visible, args.most_intersections = most
    point(args, values=values, exp_avg=exp_avg, exp_avg_sq=exp_avg_sq)
    call("gsr_adam", args, values)


def _check(**tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        if not tensor.is_contiguous():
            raise ValueError(f"{name}: expected a contiguous tensor, as it is changed in place")


def _check_shapes(shape: tuple[int, ...], **tensors: Tensor | None) -> None:
    for name, tensor in tensors.items():
        if tensor is not None and tensor.shape != shape:
            raise ValueError(f"{name}: expected {list(shape)}, got {list(tensor.shape)}")


def _rests(step: int | None, betas: tuple[float, float]) -> tuple[float, ...]:
    return (1.0, 1.0) if step is None else tuple(1 - beta**step for beta in betas)
