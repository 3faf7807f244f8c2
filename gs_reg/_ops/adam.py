"""Adam in place, for rows that were seen alone; by itself, or behind the gradient of projection in one pass."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from gs_reg._library import _fields, _Struct
from gs_reg._ops._args import call, common, point
from gs_reg._ops.projection import projection_gradient


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
    are more than the `most` that memory was taken for: the caller takes more and repeats the step.
    """
    _check(values=values, exp_avg=exp_avg, exp_avg_sq=exp_avg_sq)
    gradients = gradients.contiguous()
    rests = _rests(step, betas)
    rows = values.shape[0]
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


def _rests(step: int | None, betas: tuple[float, float]) -> tuple[float, ...]:
    return (1.0, 1.0) if step is None else tuple(1 - beta**step for beta in betas)


INPUTS = ("means", "quats", "scales", "opacities")
"""Of projection, in its order."""


class AdamProjection(_Struct):
    _fields_ = _fields(f"""
        u32 struct_size
        i32 is_double threads in_logs
        ptr projection
        f64 {" ".join(f"lr_{name}" for name in INPUTS)} beta1 beta2 eps rest1 rest2
        ptr now counts
        i64 most_visible most_intersections
        ptr {" ".join(f"{kind}_{name}" for kind in ("values", "exp_avg", "exp_avg_sq") for name in INPUTS)}
    """)


@dataclass(frozen=True)
class Learned:
    """One input of projection as Adam learns it: [N, ...], contiguous, changed in place."""

    values: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor
    lr: float


def project_adam(
    learned: Mapping[str, Learned],
    drawn: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    size: tuple[int, int],
    *,
    betas: tuple[float, float],
    eps: float,
    step: int | None = None,
    eps2d: float = 0.3,
    antialiased: bool = False,
    orthographic: bool = False,
    in_logs: bool = False,
    now: Tensor | None = None,
    counts: Tensor | None = None,
    most: tuple[int, int] = (0, 0),
) -> None:
    """The gradient of projection and a step of Adam for each of INPUTS in one pass over the Gaussians; those that no
    camera sees rest. CUDA only.

    `drawn`: what `project` was given (INPUTS, viewmats, Ks) and its radii; `gradients`: of its means2d, conics,
    opacities2d and, where there are any, depths; `size`: width and height. `in_logs`: `learned` are the logs of the
    scales and the logits of the opacities that were drawn. `now` (float64 [6]) is the four rates and two corrections
    on the device; `step`, `counts` and `most` are those of `adam`.
    """
    like = drawn["means"]
    ins = [*[drawn[name] for name in INPUTS], drawn.get("warps"), drawn["viewmats"], drawn["Ks"]]
    v_outs = (gradients["means2d"], gradients.get("depths"), gradients["conics"], gradients["opacities2d"])
    settings = (size, eps2d, antialiased, orthographic)
    projection, kept = projection_gradient(ins, drawn["radii"], *v_outs, *settings)
    args = AdamProjection(**common(like), in_logs=in_logs, projection=ctypes.addressof(projection))
    (args.beta1, args.beta2), args.eps, (args.rest1, args.rest2) = betas, eps, _rests(step, betas)
    args.most_visible, args.most_intersections = most
    point(args, now=now, counts=counts)
    for name in INPUTS:
        one = learned[name]
        tensors = {"values": one.values, "exp_avg": one.exp_avg, "exp_avg_sq": one.exp_avg_sq}
        _check(**{f"{name}: {kind}": tensor for kind, tensor in tensors.items()})
        point(args, **{f"{kind}_{name}": tensor for kind, tensor in tensors.items()})
        setattr(args, f"lr_{name}", one.lr)
    call("gsr_project_adam", args, like)
    del kept  # until here the struct points into it
