"""Sums of bumps at points, in one pass forward and one backward."""

from __future__ import annotations

import torch
from torch import Tensor

from gs_reg._library import _fields, _Struct
from gs_reg._ops._args import call, common, point
from gs_reg._ops._eager import operator


class Bumps(_Struct):
    _fields_ = _fields("""
        u32 struct_size
        i32 is_double threads
        i64 N M L O
        f64 edge sharp faint
        ptr x latent centers latents radii weight values slopes
        ptr v_values v_x v_weight
    """)


def _bumps(x, latent, centers, latents, radii, weight, edge, sharp, faint):
    """The struct, and the tensors it points to."""
    ins = tuple(t.contiguous() for t in (x, latent, centers, latents, radii, weight))
    args = Bumps(**common(x), N=len(x), M=len(centers), L=latent.shape[1], O=weight.shape[1])
    args.edge, args.sharp, args.faint = edge, sharp, faint
    point(args, **dict(zip(("x", "latent", "centers", "latents", "radii", "weight"), ins, strict=True)))
    return args, ins


@operator("gs_reg::bumps")
def bumps(
    x: Tensor,
    latent: Tensor,
    centers: Tensor,
    latents: Tensor,
    radii: Tensor,
    weight: Tensor,
    slopes: bool,
    edge: float,
    sharp: float,
    faint: float,
) -> tuple[Tensor, Tensor]:
    """Values [N,O] at points [N,3] with latent vectors [N,L], and their derivatives by the points [3,N,O].

    Of M bumps with centers [M,3], latent vectors [M,L], radii [M] and weights [M,O] (see gsr/fused.h). Without `slopes`
    the derivatives are empty. Values have gradients of points and weights; derivatives have none.
    """
    args, _alive = _bumps(x, latent, centers, latents, radii, weight, edge, sharp, faint)
    values = x.new_empty(len(x), weight.shape[1])
    derivatives = x.new_empty((3, *values.shape) if slopes else (0,))
    point(args, values=values, slopes=derivatives if slopes else None)
    call("gsr_bumps_at", args, x)
    return values, derivatives


@bumps.register_fake
def _(x, latent, centers, latents, radii, weight, slopes, edge, sharp, faint):
    values = x.new_empty(len(x), weight.shape[1])
    return values, x.new_empty((3, *values.shape) if slopes else (0,))


@operator("gs_reg::bumps_vjp")
def bumps_vjp(
    x: Tensor,
    latent: Tensor,
    centers: Tensor,
    latents: Tensor,
    radii: Tensor,
    weight: Tensor,
    v_values: Tensor,
    edge: float,
    sharp: float,
    faint: float,
    with_weight: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of the points, and of the weights, or nothing."""
    args, _alive = _bumps(x, latent, centers, latents, radii, weight, edge, sharp, faint)
    v_values, v_x = v_values.contiguous(), torch.empty_like(x, memory_format=torch.contiguous_format)
    v_weight = x.new_empty(weight.shape if with_weight else (0,))
    point(args, v_values=v_values, v_x=v_x, v_weight=v_weight if with_weight else None)
    call("gsr_bumps_at_vjp", args, x)
    return v_x, v_weight


@bumps_vjp.register_fake
def _(x, latent, centers, latents, radii, weight, v_values, edge, sharp, faint, with_weight):
    return torch.empty_like(x, memory_format=torch.contiguous_format), x.new_empty(
        weight.shape if with_weight else (0,)
    )


def _setup(ctx, inputs, output):
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*inputs[:6])
    ctx.numbers = inputs[7:]


def _backward(ctx, v_values, _v_slopes):
    with_weight = ctx.needs_input_grad[5]
    v_x, v_weight = bumps_vjp(*ctx.saved_tensors, v_values, *ctx.numbers, with_weight)
    return v_x, None, None, None, None, v_weight if with_weight else None, None, None, None, None


bumps.register_autograd(_backward, setup_context=_setup)
