"""The native operators as torch.library ops with fakes and gradients; the only place that knows the native library."""

from gs_reg._library import native_info
from gs_reg._ops.rasterizer import project, project_vjp, rasterize, rasterize_vjp

__all__ = ["native_info", "project", "project_vjp", "rasterize", "rasterize_vjp"]
