"""Spherical harmonics into the rows that the rasterizer composites."""

from __future__ import annotations

from torch import Tensor

from gs_reg._library import _fields, _Struct
from gs_reg._ops._args import call, common, point
from gs_reg._ops._eager import operator
from gs_reg._ops._pages import empty, empty_as


class Harmonics(_Struct):
    _fields_ = _fields("""
        u32 struct_size
        i32 is_double threads degree clamp
        i64 C N K D
        f64 bias
        ptr sh means centers depths out
        ptr v_out v_sh v_means v_centers v_depths
    """)


def _harmonics(sh, means, centers, depths, degree: int, bias: float, clamp: bool) -> tuple[Harmonics, tuple]:
    """The struct, and the tensors it points to."""
    (N, K, D), C = sh.shape, centers.shape[0]
    ins = tuple(None if t is None else t.contiguous() for t in (sh, means, centers, depths))
    args = Harmonics(**common(sh), degree=degree, clamp=clamp, C=C, N=N, K=K, D=D, bias=bias)
    point(args, sh=ins[0], means=ins[1], centers=ins[2], depths=ins[3])
    return args, ins


@operator("gs_reg::sh_channels")
def sh_channels(
    sh: Tensor, means: Tensor, centers: Tensor, depths: Tensor | None, degree: int, bias: float, clamp: bool
) -> Tensor:
    """bias + sum of Y_k(direction) sh_k, clamped at 0 if so asked, and `depths` [C,N] as one more channel."""
    args, _alive = _harmonics(sh, means, centers, depths, degree, bias, clamp)
    out = _channels(sh, centers, depths)
    point(args, out=out)
    call("gsr_sh", args, sh)
    return out


def _channels(sh: Tensor, centers: Tensor, depths: Tensor | None) -> Tensor:
    return empty(sh, centers.shape[0], sh.shape[0], sh.shape[2] + int(depths is not None))


@sh_channels.register_fake
def _(sh, means, centers, depths, degree, bias, clamp):
    return _channels(sh, centers, depths)


@operator("gs_reg::sh_channels_vjp")
def sh_channels_vjp(
    sh: Tensor,
    means: Tensor,
    centers: Tensor,
    out: Tensor,
    v_out: Tensor,
    degree: int,
    clamp: bool,
    with_depths: bool,
    with_directions: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of sh, means and centers (empty unless with_directions) and depths (empty unless with_depths)."""
    v_sh, v_means, v_centers, v_depths = grads = _gradients(sh, means, centers, with_depths, with_directions)
    # any array serves as the depths, which backward does not read
    args, _alive = _harmonics(sh, means, centers, out if with_depths else None, degree, 0.0, clamp)
    v_out = v_out.contiguous()
    point(args, out=out, v_out=v_out, v_sh=v_sh, v_depths=v_depths)
    if with_directions:
        point(args, v_means=v_means, v_centers=v_centers)
    call("gsr_sh_vjp", args, sh)
    return grads


def _gradients(sh, means, centers, with_depths, with_directions):
    N, C = means.shape[0], centers.shape[0]
    return (
        empty_as(sh),
        empty_as(means) if with_directions else means.new_empty(0),
        empty(means, *centers.shape) if with_directions else means.new_empty(0),
        empty(means, C, N) if with_depths else means.new_empty(0),
    )


@sh_channels_vjp.register_fake
def _(sh, means, centers, out, v_out, degree, clamp, with_depths, with_directions):
    return _gradients(sh, means, centers, with_depths, with_directions)


def _setup(ctx, inputs, output):
    sh, means, centers, depths, ctx.degree, _bias, ctx.clamp = inputs
    ctx.with_depths = depths is not None
    ctx.save_for_backward(sh, means, centers, output)


def _backward(ctx, v_out):
    directions = ctx.degree > 0 and (ctx.needs_input_grad[1] or ctx.needs_input_grad[2])
    v_sh, v_means, v_centers, v_depths = sh_channels_vjp(
        *ctx.saved_tensors, v_out, ctx.degree, ctx.clamp, ctx.with_depths, directions
    )
    return (
        v_sh,
        v_means if directions else None,
        v_centers if directions else None,
        v_depths if ctx.with_depths else None,
        *[None] * 3,
    )


sh_channels.register_autograd(_backward, setup_context=_setup)
