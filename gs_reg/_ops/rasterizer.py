"""Compositing of projected splats, one large op with its gradient."""

import torch
from torch import Tensor

from gs_reg._library import STATE_SLOTS, Rasterization
from gs_reg._ops._args import ALLOCATE, Fields, Memory, addresses, call, contiguous, incoming, takes_session
from gs_reg._ops._eager import operator
from gs_reg._ops._pages import empty

CUDA_SLOTS, COUNTS_SLOT = 2, 1
"""Of the CUDA library's state; the CPU's has STATE_SLOTS."""

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
    ins = contiguous(means2d, shapes, depths, features, radii)
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
    v_outs = (v_image.contiguous(), incoming(v_alphas, image, *image.shape[:3]))
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
