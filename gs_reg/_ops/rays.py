"""Gaussians bound to rays: means and log-scales from the residual of log-depth."""

from __future__ import annotations

import torch
from torch import Tensor

from gs_reg._library import _fields, _Struct
from gs_reg._ops._args import call, common, point
from gs_reg._ops._eager import operator
from gs_reg._ops._pages import empty, empty_as


class RayPoints(_Struct):
    _fields_ = _fields("""
        u32 struct_size
        i32 is_double threads
        i64 N
        f64 range
        ptr residual log_start origins rays log_sizes means log_scales
        ptr v_means v_log_scales v_residual
    """)


@operator("gs_reg::along_rays")
def along_rays(
    residual: Tensor, log_start: Tensor, origins: Tensor, rays: Tensor, log_sizes: Tensor, depth_range: float
) -> tuple[Tensor, Tensor]:
    """origins + depth * rays and log_sizes + log depth, with depth = exp(log_start + depth_range * tanh(residual))."""
    ins = [t.contiguous() for t in (residual, log_start, origins, rays, log_sizes)]
    means, log_scales = empty(residual, *origins.shape), empty(residual, *log_sizes.shape)
    args = RayPoints(**common(residual), N=len(residual), range=depth_range)
    point(args, **dict(zip(("residual", "log_start", "origins", "rays", "log_sizes"), ins, strict=True)))
    point(args, means=means, log_scales=log_scales)
    call("gsr_along_rays", args, residual)
    return means, log_scales


@along_rays.register_fake
def _(residual, log_start, origins, rays, log_sizes, depth_range):
    return torch.empty_like(origins), torch.empty_like(log_sizes)


@operator("gs_reg::along_rays_vjp")
def along_rays_vjp(
    residual: Tensor, log_start: Tensor, rays: Tensor, v_means: Tensor, v_log_scales: Tensor, depth_range: float
) -> Tensor:
    """Gradient of the residual."""
    ins = [t.contiguous() for t in (residual, log_start, rays, v_means, v_log_scales)]
    out = empty_as(residual)
    args = RayPoints(**common(residual), N=len(residual), range=depth_range)
    point(args, **dict(zip(("residual", "log_start", "rays", "v_means", "v_log_scales"), ins, strict=True)))
    point(args, v_residual=out)
    call("gsr_along_rays_vjp", args, residual)
    return out


@along_rays_vjp.register_fake
def _(residual, log_start, rays, v_means, v_log_scales, depth_range):
    return torch.empty_like(residual)


def _setup(ctx, inputs, output):
    residual, log_start, _origins, rays, _log_sizes, ctx.depth_range = inputs
    ctx.save_for_backward(residual, log_start, rays)


def _backward(ctx, v_means, v_log_scales):
    v_residual = along_rays_vjp(*ctx.saved_tensors, v_means, v_log_scales, ctx.depth_range)
    return v_residual, None, None, None, v_log_scales, None


along_rays.register_autograd(_backward, setup_context=_setup)
