"""Sums over the pixels of maps for each splat: the adjoint of compositing."""

from __future__ import annotations

from torch import Tensor

from gs_reg._library import _fields, _Struct
from gs_reg._ops._args import call, common, contiguous, point
from gs_reg._ops._eager import operator
from gs_reg._ops._pages import empty


class Lifting(_Struct):
    _fields_ = _fields("""
        u32 struct_size
        i32 is_double threads width height channels
        i64 C N
        f64 alpha_min alpha_max transmittance_min
        ptr means2d shapes depths radii maps
        ptr sums weights largest
    """)


@operator("gs_reg::lift")
def lift(
    means2d: Tensor,
    shapes: Tensor,
    depths: Tensor,
    radii: Tensor,
    maps: Tensor,
    alpha_min: float,
    alpha_max: float,
    transmittance_min: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums [C,N,D] of weight times `maps` [C,H,W,D], sums of the weights [C,N] and the largest weights [C,N].

    It has no gradient.
    """
    means2d, shapes, depths, radii, maps = contiguous(means2d, shapes, depths, radii, maps)
    C, height, width, D = maps.shape
    args = Lifting(
        **common(means2d),
        width=width,
        height=height,
        channels=D,
        C=C,
        N=means2d.shape[1],
        alpha_min=alpha_min,
        alpha_max=alpha_max,
        transmittance_min=transmittance_min,
    )
    sums, weights, largest = found = _lifted(means2d, maps)
    point(args, means2d=means2d, shapes=shapes, depths=depths, radii=radii, maps=maps)
    point(args, sums=sums, weights=weights, largest=largest)
    call("gsr_lift", args, means2d)
    return found


def _lifted(means2d: Tensor, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    C, N, _ = means2d.shape
    return empty(means2d, C, N, maps.shape[-1]), empty(means2d, C, N), empty(means2d, C, N)


@lift.register_fake
def _(means2d, shapes, depths, radii, maps, *_):
    return _lifted(means2d, maps)
