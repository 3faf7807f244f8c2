"""Projection of Gaussians into cameras, one large op with its gradient."""

import torch
from torch import Tensor

from gs_reg._library import Projection
from gs_reg._ops._args import Fields, addresses, call, contiguous, incoming
from gs_reg._ops._eager import operator
from gs_reg._ops._pages import empty, empty_as

PROJECTION = Fields(
    Projection,
    "is_double threads antialiased orthographic width height C N near_plane far_plane radius_clip eps2d alpha_min "
    "means quats scales opacities viewmats Ks",
)
PROJECTED = Fields(Projection, "means2d depths conics opacities2d shapes radii nonfinite")
V_PROJECTED = Fields(Projection, "v_means2d v_depths v_conics v_opacities2d")
V_INPUTS = Fields(Projection, "v_means v_quats v_scales v_opacities v_viewmats")


@operator("gs_reg::project")
def project(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    near: float,
    far: float,
    radius_clip: float,
    eps2d: float,
    alpha_min: float,
    antialiased: bool,
    orthographic: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """means2d, depths, conics, opacities2d, shapes, radii, count of non-finite rows; see gsr.h for shapes."""
    ins = contiguous(means, quats, scales, opacities, viewmats, Ks)
    outs = _project_outputs(ins[0], viewmats.shape[0])
    args = _projection(ins, width, height, near, far, radius_clip, eps2d, alpha_min, antialiased, orthographic)
    PROJECTED.fill(args, *addresses(*outs))
    call("gsr_project", args, means)
    return outs


def _project_outputs(means: Tensor, cameras: int):
    shape = (cameras, means.shape[0])
    return (
        empty(means, *shape, 2),
        empty(means, *shape),
        empty(means, *shape, 3),
        empty(means, *shape),
        empty(means, *shape, 6),
        empty(means, *shape, 2, dtype=torch.int32),
        empty(means, 1, dtype=torch.int64),
    )


def _projection(ins, width, height, near, far, radius_clip, eps2d, alpha_min, antialiased, orthographic) -> Projection:
    means, viewmats = ins[0], ins[4]
    modes = (means.dtype == torch.float64, torch.get_num_threads(), antialiased, orthographic)
    sizes = (width, height, viewmats.shape[0], means.shape[0])
    limits = (near, far, radius_clip, eps2d, alpha_min)
    args = Projection()
    PROJECTION.fill(args, *modes, *sizes, *limits, *addresses(*ins))
    return args


@project.register_fake
def _(means, quats, scales, opacities, viewmats, *_):
    return _project_outputs(means, viewmats.shape[0])


@operator("gs_reg::project_vjp")
def project_vjp(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    radii: Tensor,
    v_means2d: Tensor,
    v_depths: Tensor | None,
    v_conics: Tensor,
    v_opacities2d: Tensor,
    width: int,
    height: int,
    eps2d: float,
    antialiased: bool,
    orthographic: bool,
    with_viewmats: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of means, quats, scales, opacities and viewmats; of viewmats empty unless asked for."""
    ins = contiguous(means, quats, scales, opacities, viewmats, Ks)
    radii, v_means2d, v_conics, v_opacities2d = contiguous(radii, v_means2d, v_conics, v_opacities2d)
    v_outs = [v_means2d, incoming(v_depths, means, *radii.shape[:2]), v_conics, v_opacities2d]
    args = _projection(ins, width, height, 0.0, 0.0, 0.0, eps2d, 0.0, antialiased, orthographic)
    args.radii = radii.data_ptr()
    V_PROJECTED.fill(args, *addresses(*v_outs))
    outs = _project_gradients(means, quats, scales, opacities, viewmats, with_viewmats)
    V_INPUTS.fill(args, *addresses(*outs[:4], outs[4] if with_viewmats else None))
    call("gsr_project_vjp", args, means)
    return outs


@project_vjp.register_fake
def _(means, quats, scales, opacities, viewmats, *rest):
    return _project_gradients(means, quats, scales, opacities, viewmats, rest[-1])


def _project_gradients(means, quats, scales, opacities, viewmats, with_viewmats):
    return (
        empty_as(means),
        empty_as(quats),
        empty_as(scales),
        empty_as(opacities),
        empty_as(viewmats) if with_viewmats else viewmats.new_empty(0),
    )


def _project_setup(ctx, inputs, output):
    *tensors, ctx.width, ctx.height, _near, _far, _clip, ctx.eps2d, _alpha_min, ctx.antialiased, ctx.orthographic = (
        inputs
    )
    ctx.save_for_backward(*tensors, output[5])
    # zero gradients of the outputs that carry none would cost as much as the kernel
    ctx.set_materialize_grads(False)


def _project_backward(ctx, v_means2d, v_depths, v_conics, v_opacities2d, *_):
    *ins, radii = ctx.saved_tensors
    (C, N, _), zeros = radii.shape, ins[0].new_zeros
    v_outs = (
        zeros(C, N, 2) if v_means2d is None else v_means2d,
        v_depths,
        zeros(C, N, 3) if v_conics is None else v_conics,
        zeros(C, N) if v_opacities2d is None else v_opacities2d,
    )
    settings = (ctx.width, ctx.height, ctx.eps2d, ctx.antialiased, ctx.orthographic)
    with_viewmats = ctx.needs_input_grad[4]
    *grads, v_viewmats = project_vjp(*ins, radii, *v_outs, *settings, with_viewmats)
    return *grads, v_viewmats if with_viewmats else None, *[None] * 10


project.register_autograd(_project_backward, setup_context=_project_setup)
