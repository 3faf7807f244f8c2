"""The native operators as torch.library ops with fakes and gradients; the only place that knows the native library."""

from gs_reg._library import native_info
from gs_reg._ops._args import is_native
from gs_reg._ops.photometric import photometric
from gs_reg._ops.rasterizer import project, project_vjp, rasterize, rasterize_vjp

__all__ = ["is_native", "native_info", "photometric", "project", "project_vjp", "rasterize", "rasterize_vjp"]
