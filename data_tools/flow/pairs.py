"""Flow between pairs of photos, with the mask of pixels that pass the forward-backward check."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.geometry import pixel_centers, project, unproject
from gs_reg.types import Views

from .visibility import sample

MAX_ROUND_TRIP = 2 * math.log(2)
"""Error in pixels (L1) that the forward-backward check allows: where exp(-error / 2) is 0.5."""
WINDOW = 5
"""Side of the window that must pass as a whole, pixels."""
MOST_PARTNERS = 4
EVERY_PAIR = 8
"""Up to this many photos all are paired; of more, each with its nearest partners."""

Flow = Callable[[Views, Views], Float[Tensor, "H W 2"]]
"""Displacement in pixels of every pixel of the first photo towards the second; NaN = no match."""


@dataclass(frozen=True)
class FlowPair:
    """Flow from one view to another."""

    i: int
    j: int
    flow: Float[Tensor, "H W 2"]
    """From view i to view j, pixels."""
    mask: Bool[Tensor, "H W"]
    """The flow passes the forward-backward check, and both ends are inside the photos' masks."""


def flow_pairs(views: Sequence[Views], flow: Flow) -> tuple[FlowPair, ...]:
    """Both directions of every pair of views, or of the nearest partners where there are more than eight views."""
    pairs = {(i, j) for i in range(len(views)) for j in _partners(views, i)}
    pairs |= {(j, i) for i, j in pairs}
    flows = {(i, j): flow(views[i], views[j]) for i, j in sorted(pairs)}
    out = []
    for (i, j), there in flows.items():
        mask = forward_backward_check(there, flows[j, i])
        for view, seen in ((views[i], None), (views[j], there)):
            if view.masks is not None:
                mask &= view.masks[0] if seen is None else _mask_at(view.masks[0], seen)
        out.append(FlowPair(i, j, there, mask))
    return tuple(out)


def forward_backward_check(there: Float[Tensor, "H W 2"], back: Float[Tensor, "h w 2"]) -> Bool[Tensor, "H W"]:
    """In the whole 5x5 window the flow ends in the other picture and comes back within 1.386 px (L1)."""
    landed = pixel_centers(there.shape[1], there.shape[0], there) + there
    inside = ((landed >= 0) & (landed <= landed.new_tensor([back.shape[1], back.shape[0]]))).all(-1)
    miss = torch.where(inside, (there + sample(back, landed)).abs().sum(-1), torch.inf)
    # NaN flow (no match) is in no picture, so its error is infinite; beyond the border max_pool2d pads with -inf
    return F.max_pool2d(miss[None], WINDOW, 1, WINDOW // 2)[0] < MAX_ROUND_TRIP


def _partners(views: Sequence[Views], i: int) -> list[int]:
    """The views to pair with: nearest in angle (radians) plus distance (as a share of the farthest view's)."""
    others = [j for j in range(len(views)) if j != i]
    if len(views) <= EVERY_PAIR:
        return others
    forward = [view.cameras.world_from_camera[0, :3, 2] for view in views]
    centers = [view.cameras.centers[0] for view in views]
    reach = max(float((c - centers[i]).norm()) for c in centers) or 1.0

    def apart(j: int) -> float:
        turned = torch.arccos((forward[i] @ forward[j]).clamp(-1, 1))
        return float(turned) + float((centers[j] - centers[i]).norm()) / reach

    return sorted(others, key=apart)[:MOST_PARTNERS]


def _mask_at(mask: Bool[Tensor, "h w"], flow: Float[Tensor, "H W 2"]) -> Bool[Tensor, "H W"]:
    """The other photo's mask where the flow ends."""
    landed = pixel_centers(flow.shape[1], flow.shape[0], flow) + flow
    return sample(mask[..., None].to(flow), landed)[..., 0] > 0.5


@dataclass(frozen=True)
class DepthFlow:
    """Flow of a static scene from depth maps, by the photos' names; occluded pixels fail the forward-backward check."""

    depths: Mapping[str, Float[Tensor, "_ _"]]

    def __call__(self, a: Views, b: Views) -> Float[Tensor, "H W 2"]:
        depth = self.depths[a.names[0]]
        landed, z = project(b.cameras, unproject(a.cameras, depth[None])[0])
        flow = landed[0] - pixel_centers(depth.shape[1], depth.shape[0], depth)
        return torch.where(z[0, ..., None] > 0, flow, torch.nan)
