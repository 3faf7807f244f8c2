"""What `gs-reg bench cpu` measures our kernels by: bare loops, the plain scalar algorithm, counts; and our stages."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from gs_reg._library import _fields, _Struct, checked, cpu_library
from gs_reg._ops._args import point

STAGES = ("sort", "binning", "forward", "backward", "reduction")
"""enum gsr_stage"""


class Floor(_Struct):
    _fields_ = _fields("""
        u32 struct_size
        i32 threads is_double
        f64 forward_pairs backward_pairs flops bytes
    """)


class Scalar(_Struct):
    _fields_ = _fields("""
        u32 struct_size
        i32 threads is_double width height channels
        i64 N
        f64 alpha_min alpha_max transmittance_min
        ptr means2d conics opacities depths features radii image alphas v_image v_alphas
        ptr v_means2d v_conics v_opacities v_features
        f64 sort_seconds forward_seconds backward_seconds
        i64 contributing evaluated saturated
    """)


@dataclass(frozen=True)
class Rates:
    """Work a second that bare loops reach, all threads together."""

    forward_pairs: float
    backward_pairs: float
    flops: float
    bytes: float


def bare_loops() -> Rates:
    args = Floor(threads=torch.get_num_threads())
    checked(cpu_library(), "gsr_bench_floor", args)
    return Rates(args.forward_pairs, args.backward_pairs, args.flops, args.bytes)


@dataclass(frozen=True)
class Projected:
    """One camera's projected splats in float32, with the cut-offs of RenderConfig."""

    means2d: Tensor
    conics: Tensor
    opacities: Tensor
    depths: Tensor
    features: Tensor
    radii: Tensor
    width: int
    height: int
    cutoffs: tuple[float, float, float]
    """alpha_min, alpha_max, transmittance_min"""

    def args(self) -> Scalar:
        alpha_min, alpha_max, transmittance_min = self.cutoffs
        args = Scalar(
            threads=torch.get_num_threads(),
            width=self.width,
            height=self.height,
            channels=self.features.shape[-1],
            N=self.means2d.shape[-2],
            alpha_min=alpha_min,
            alpha_max=alpha_max,
            transmittance_min=transmittance_min,
        )
        names = ("means2d", "conics", "opacities", "depths", "features", "radii")
        point(args, **{name: getattr(self, name) for name in names})
        return args


def scalar_rasterizer(
    splats: Projected, v_image: Tensor, v_alphas: Tensor
) -> tuple[tuple[Tensor, ...], dict[str, float]]:
    """(image, alphas, gradients of means2d, conics, opacities, features), and the seconds of its stages."""
    image, alphas = torch.empty_like(v_image), torch.empty_like(v_alphas)
    gradients = {
        f"v_{name}": torch.empty_like(getattr(splats, name)) for name in ("means2d", "conics", "opacities", "features")
    }
    args = splats.args()
    point(args, image=image, alphas=alphas, v_image=v_image, v_alphas=v_alphas, **gradients)
    checked(cpu_library(), "gsr_bench_scalar", args)
    seconds = {"sort": args.sort_seconds, "forward": args.forward_seconds, "backward": args.backward_seconds}
    return (image, alphas, *gradients.values()), seconds


def pair_counts(splats: Projected) -> dict[str, int]:
    """(pixel, splat) pairs that reach the image; pairs of the 4x4 blocks that hold them; finished pixels."""
    args = splats.args()
    checked(cpu_library(), "gsr_bench_pairs", args)
    return {"contributing": args.contributing, "evaluated": args.evaluated, "saturated": args.saturated}


def stage_seconds() -> dict[str, float]:
    """Seconds that rasterize and its gradient spent in each stage since this was last called."""
    seconds = (ctypes.c_double * len(STAGES))()
    cpu_library().gsr_timings(seconds)
    return dict(zip(STAGES, seconds, strict=True))
