"""The native operators as torch.library ops with fakes and gradients; the only place that knows the native library."""

from gs_reg._library import native_info
from gs_reg._ops._args import is_native
from gs_reg._ops.adam import adam
from gs_reg._ops.bumps import bumps
from gs_reg._ops.harmonics import sh_channels
from gs_reg._ops.laplacian import laplacian
from gs_reg._ops.lift import lift
from gs_reg._ops.nearest import nearest
from gs_reg._ops.photometric import photometric
from gs_reg._ops.projection import project, project_vjp
from gs_reg._ops.rasterizer import rasterize, rasterize_vjp, true_counts
from gs_reg._ops.rays import along_rays
from gs_reg._ops.variation import variation

__all__ = [
    "adam",
    "along_rays",
    "bumps",
    "is_native",
    "laplacian",
    "lift",
    "native_info",
    "nearest",
    "photometric",
    "project",
    "project_vjp",
    "rasterize",
    "rasterize_vjp",
    "sh_channels",
    "true_counts",
    "variation",
]
