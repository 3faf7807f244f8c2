"""Projection and compositing, each one large op with its gradient."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gs_reg._library import STATE_SLOTS, Projection, Rasterization
from gs_reg._ops._args import ALLOCATE, Fields, Memory, addresses, call, takes_session
from gs_reg._ops._eager import operator
from gs_reg._ops._pages import empty, empty_as

__all__ = ["project", "project_vjp", "rasterize", "rasterize_vjp", "true_counts"]

CUDA_SLOTS, COUNTS_SLOT = 2, 1
"""Of the CUDA library's state; the CPU's has STATE_SLOTS."""

PROJECTION = Fields(
    Projection,
    "is_double threads antialiased orthographic width height C N near_plane far_plane radius_clip eps2d alpha_min "
    "means quats scales opacities viewmats Ks",
)
PROJECTED = Fields(Projection, "means2d depths conics opacities2d shapes radii nonfinite")
V_PROJECTED = Fields(Projection, "v_means2d v_depths v_conics v_opacities2d")
V_INPUTS = Fields(Projection, "v_means v_quats v_scales v_opacities v_viewmats")
RASTERIZATION = Fields(
    Rasterization,
    "is_double threads absgrad width height channels C N alpha_min alpha_max transmittance_min "
    "means2d shapes depths features radii backgrounds image alphas",
)
CAPACITIES = Fields(Rasterization, "visible intersections")
RASTERIZATION_GRADIENTS = Fields(
    Rasterization,
    "state visible intersections v_image v_alphas v_means2d v_conics v_opacities v_features v_absolute",
)


def _contiguous(*tensors: Tensor) -> list[Tensor]:
    return [t.contiguous() for t in tensors]


def _gradient(given: Tensor | None, like: Tensor, *shape: int) -> Tensor | None:
    """What comes from above, of a shape; where nothing does, the CUDA library takes None and the CPU's zeros."""
    if given is None:
        return None if takes_session(like) else like.new_zeros(shape)
    return given.contiguous()


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
    ins = _contiguous(means, quats, scales, opacities, viewmats, Ks)
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
    ins, v_outs = (means, quats, scales, opacities, viewmats, Ks), (v_means2d, v_depths, v_conics, v_opacities2d)
    args, _kept = projection_gradient(ins, radii, *v_outs, (width, height), eps2d, antialiased, orthographic)
    outs = _project_gradients(means, quats, scales, opacities, viewmats, with_viewmats)
    V_INPUTS.fill(args, *addresses(*outs[:4], outs[4] if with_viewmats else None))
    call("gsr_project_vjp", args, means)
    return outs


def projection_gradient(
    ins: Sequence[Tensor],
    radii: Tensor,
    v_means2d: Tensor,
    v_depths: Tensor | None,
    v_conics: Tensor,
    v_opacities2d: Tensor,
    size: tuple[int, int],
    eps2d: float,
    antialiased: bool,
    orthographic: bool,
) -> tuple[Projection, list[Tensor | None]]:
    """The struct of a call that takes the gradients of projection's outputs and has nothing to write to yet, and the
    tensors that it points into. `ins`: what `project` was given."""
    ins = _contiguous(*ins)
    radii, v_means2d, v_conics, v_opacities2d = _contiguous(radii, v_means2d, v_conics, v_opacities2d)
    v_outs = [v_means2d, _gradient(v_depths, ins[0], *radii.shape[:2]), v_conics, v_opacities2d]
    args = _projection(ins, *size, 0.0, 0.0, 0.0, eps2d, 0.0, antialiased, orthographic)
    args.radii = radii.data_ptr()
    V_PROJECTED.fill(args, *addresses(*v_outs))
    return args, [*ins, radii, *v_outs]


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


@operator("gs_reg::rasterize")
def rasterize(
    means2d: Tensor,
    conics: Tensor,
    opacities2d: Tensor,
    features: Tensor,
    backgrounds: Tensor | None,
    absolute: Tensor | None,
    shapes: Tensor,
    depths: Tensor,
    radii: Tensor,
    width: int,
    height: int,
    alpha_min: float,
    alpha_max: float,
    transmittance_min: float,
    most_visible: int = 0,
    most_intersections: int = 0,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Image [C,H,W,D], alphas [C,H,W] and the state that backward reads.

    `conics` and `opacities2d` carry gradients only: values come from `shapes`. `absolute` [C,N,2], when given, is a
    zero tensor whose "gradient" is the sum over pixels of the absolute gradient of means2d (for densification).

    On CUDA memory is taken for `most_visible` splats and `most_intersections` with tiles: then nothing waits for the
    GPU, and the call can be captured in a graph. What is beyond them is left out; `true_counts` tells. 0: the counts
    are asked for, and waited for.
    """
    ins = _contiguous(means2d, shapes, depths, features, radii)
    backgrounds = None if backgrounds is None else backgrounds.contiguous()
    C, _, D = features.shape
    image, alphas = empty(means2d, C, height, width, D), empty(means2d, C, height, width)
    cutoffs = (alpha_min, alpha_max, transmittance_min)
    args = _rasterization(ins, backgrounds, image, alphas, cutoffs, absolute is not None)
    state = Memory(means2d)
    args.alloc, args.context = ALLOCATE, state.address
    CAPACITIES.fill(args, most_visible, most_intersections)
    call("gsr_rasterize", args, means2d, state)
    blocks = state.blocks
    # a new empty tensor for each slot that the library has no use for, as results may not alias
    count = CUDA_SLOTS if takes_session(means2d) else STATE_SLOTS
    slots = [blocks[k] if k in blocks else empty(means2d, 0, dtype=torch.uint8) for k in range(count)]
    # the fields themselves, which is cheaper than a tensor of their values
    counts = torch.frombuffer(args, dtype=torch.int64, count=2, offset=CAPACITIES.offset)
    return image, alphas, [*slots, counts]


def true_counts(state: list[Tensor]) -> Tensor:
    """[2] (int64) visible splats and intersections of a drawing on CUDA, where it is: at most as many are drawn as
    memory was taken for."""
    return state[COUNTS_SLOT].view(torch.int64)[:2]


def _rasterization(ins, backgrounds, image, alphas, cutoffs, absgrad) -> Rasterization:
    means2d = ins[0]
    C, height, width, D = image.shape
    modes = (means2d.dtype == torch.float64, torch.get_num_threads(), absgrad)
    args = Rasterization()
    sizes, pointers = (width, height, D, C, means2d.shape[1]), addresses(*ins, backgrounds, image, alphas)
    RASTERIZATION.fill(args, *modes, *sizes, *cutoffs, *pointers)
    return args


@rasterize.register_fake
def _(means2d, conics, opacities2d, features, backgrounds, absolute, shapes, depths, radii, width, height, *_):
    C, _, D = features.shape
    count = CUDA_SLOTS if means2d.device.type == "cuda" else STATE_SLOTS
    sizes = [torch.library.get_ctx().new_dynamic_size() for _ in range(count)]
    state = [means2d.new_empty(size, dtype=torch.uint8) for size in sizes]
    return (
        means2d.new_empty(C, height, width, D),
        means2d.new_empty(C, height, width),
        [*state, torch.empty(2, dtype=torch.int64)],
    )


@operator("gs_reg::rasterize_vjp")
def rasterize_vjp(
    means2d: Tensor,
    shapes: Tensor | None,
    depths: Tensor | None,
    radii: Tensor,
    features: Tensor,
    image: Tensor,
    state: list[Tensor],
    v_image: Tensor,
    v_alphas: Tensor | None,
    alpha_min: float,
    alpha_max: float,
    transmittance_min: float,
    absgrad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of means2d, conics, opacities2d, features and the absolute ones of means2d (empty unless asked for).

    On CUDA the state has the shapes, and depths are asked for only where sums are to be repeatable.
    """
    ins = [None if t is None else t.contiguous() for t in (means2d, shapes, depths, features, radii)]
    v_outs = (v_image.contiguous(), _gradient(v_alphas, image, *image.shape[:3]))
    args = _rasterization(ins, None, image, None, (alpha_min, alpha_max, transmittance_min), absgrad)
    outs = _rasterize_gradients(means2d, features, absgrad)
    *slots, counts = state
    unused = [0] * (STATE_SLOTS - len(slots))
    RASTERIZATION_GRADIENTS.fill(args, *addresses(*slots), *unused, *counts.tolist(), *addresses(*v_outs, *outs))
    call("gsr_rasterize_vjp", args, means2d)
    return outs


def _rasterize_gradients(means2d, features, absgrad):
    C, N, _ = means2d.shape
    return (
        empty(means2d, C, N, 2),
        empty(means2d, C, N, 3),
        empty(means2d, C, N),
        empty(means2d, *features.shape),
        empty(means2d, C, N, 2) if absgrad else means2d.new_empty(0),
    )


@rasterize_vjp.register_fake
def _(means2d, shapes, depths, radii, features, image, state, v_image, v_alphas, *cutoffs_and_absgrad):
    return _rasterize_gradients(means2d, features, cutoffs_and_absgrad[-1])


def _rasterize_setup(ctx, inputs, output):
    means2d, _conics, _opacities2d, features, backgrounds, absolute, shapes, depths, radii, *rest = inputs
    _width, _height, *ctx.cutoffs, _most_visible, _most_intersections = rest
    image, alphas, state = output
    ctx.absgrad = absolute is not None
    if takes_session(means2d):  # memory is short where frames are large
        shapes, depths = None, depths if torch.are_deterministic_algorithms_enabled() else None
    alphas = None if backgrounds is None else alphas
    ctx.save_for_backward(means2d, shapes, depths, radii, features, image, alphas, *state)
    ctx.set_materialize_grads(False)


def _rasterize_backward(ctx, v_image, v_alphas, _v_state):
    means2d, shapes, depths, radii, features, image, alphas, *state = ctx.saved_tensors
    v_image = torch.zeros_like(image) if v_image is None else v_image
    inputs = (means2d, shapes, depths, radii, features)
    *grads, v_absolute = rasterize_vjp(*inputs, image, state, v_image, v_alphas, *ctx.cutoffs, ctx.absgrad)
    v_backgrounds = torch.einsum("chwd,chw->cd", v_image, 1 - alphas) if ctx.needs_input_grad[4] else None
    # torch leaves out trailing inputs that have their default
    others = [None] * (len(ctx.needs_input_grad) - 6)
    return *grads, v_backgrounds, v_absolute if ctx.absgrad else None, *others


rasterize.register_autograd(_rasterize_backward, setup_context=_rasterize_setup)
