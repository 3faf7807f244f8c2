"""Anchors: the few views whose pictures are edited. Which ones, and whether their edits agree.

An edit of one view is carried to the next by rendered depth, so that the editor goes on from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.geometry import project as project_points
from gs_reg.geometry import unproject
from gs_reg.render import RenderConfig, lift, project
from gs_reg.types import Cameras, Splats, Views

MOST_ENLARGED = 4.0
"""Splats show nothing more from nearer."""
ENOUGH = 16
"""Pixels that two anchors share, from which their edits are compared."""


@dataclass(frozen=True)
class AnchorConfig:
    count: int = 8
    """Most anchors."""
    apart: float = 20.0
    """Degrees between two of them, seen from the part."""
    depth_tolerance: float = 0.01
    """Relative difference of depths up to which two views see the same surface."""
    gate: float = 0.12
    """Mean colour difference to the first anchor, where both see the part, from which an edit is refused."""
    fill: float = 0.6
    """Least share of the picture's side that the part takes: views of smaller parts are taken from nearer."""
    candidates: int = 3
    """Seeds of the first anchor, of which the one is taken that the model itself finds truest to the words."""
    words: Literal["edit", "mixed"] = "edit"
    """What the model is asked for. edit: a photo of what the part shall be, and nothing else (as RoMaP's release does);
    mixed: the object with its parts, of which one is what it shall be."""
    keep: bool = True
    """What earlier edits show stays as it is and only the rest is made; else the next edit goes on from it."""


@torch.no_grad()
def visibility(
    splats: Splats, cameras: Cameras, chosen: Bool[Tensor, "N"], config: RenderConfig = RenderConfig()
) -> Float[Tensor, "C E"]:
    """Sum over the pixels of each camera of the weight with which each chosen Gaussian is blended."""
    nothing = splats.means.new_zeros(1, cameras.height, cameras.width, 1)
    sums = [lift(project(splats, cameras[i], config), nothing).weights[0, chosen] for i in range(len(cameras))]
    return torch.stack(sums)


def covered(visible: Float[Tensor, "C E"], views: Sequence[int]) -> float:
    """Visibility of the part in these views together: each Gaussian counts where it is seen best."""
    return float(visible[list(views)].amax(0).sum()) if len(views) else 0.0


def choose_anchors(
    visible: Float[Tensor, "C E"],
    masks: Bool[Tensor, "C H W"],
    cameras: Cameras,
    center: Float[Tensor, "3"],
    config: AnchorConfig = AnchorConfig(),
) -> tuple[int, ...]:
    """The view with the largest mask, then greedily those that show most of what no view before them shows.

    Fewer than `count` where no other view shows more, or none is far enough from all others; none where all masks are
    empty. `center` is the middle of the part.
    """
    sizes = masks.flatten(1).sum(1)
    allowed = sizes > 0
    if not allowed.any():
        return ()
    directions = F.normalize(cameras.centers - center, dim=1)
    near = math.cos(math.radians(config.apart)) + 1e-6
    chosen = [int(sizes.argmax())]
    while len(chosen) < config.count:
        allowed &= directions @ directions[chosen[-1]] <= near
        best = visible[chosen].amax(0)
        gains = torch.where(allowed, (visible - best).clamp_min(0).sum(1), 0.0)
        if float(gains.max()) <= 1e-6 * float(best.sum()):
            break
        chosen.append(int(gains.argmax()))
    return tuple(chosen)


def nearer(cameras: Cameras, masks: Bool[Tensor, "C H W"], fill: float) -> Cameras:
    """Cameras of the same size that see crops, of the frame's shape, which the masks' bounding boxes fill so far."""
    width, height, made = cameras.width, cameras.height, []
    for i, mask in enumerate(masks):
        rows, columns = (mask.any(axis).nonzero()[:, 0].tolist() for axis in (1, 0))
        if not rows:
            made.append(cameras[i])
            continue
        low, high = (columns[0], rows[0]), (columns[-1] + 1, rows[-1] + 1)
        share = max((high[0] - low[0]) / width, (high[1] - low[1]) / height)
        size = [side * min(1.0, max(share / fill if fill else 1.0, 1 / MOST_ENLARGED)) for side in (width, height)]
        w, h = (max(1, round(side)) for side in size)
        left, top = (
            round(min(max((a + b - side) / 2, 0), full - side))
            for a, b, side, full in zip(low, high, (w, h), (width, height), strict=True)
        )
        made.append(cameras[i].cropped(left, top, w, h).resized(width, height))
    return Cameras.joined(made)


def warp(
    source: Views, target: Views, tolerance: float = AnchorConfig.depth_tolerance
) -> tuple[Float[Tensor, "H W 3"], Bool[Tensor, "H W"]]:
    """The source's picture as the target's camera sees it, and where: in both masks, on the same surface.

    Both are one view with depths and masks.
    """
    depths, masks = target.depths, target.masks
    assert depths is not None and masks is not None and source.depths is not None and source.masks is not None
    uv, z = project_points(source.cameras, unproject(target.cameras, depths)[0])
    size = uv.new_tensor([source.cameras.width, source.cameras.height])
    grid = 2 * uv / size - 1
    layers = torch.cat([source.photos.movedim(-1, 1), source.depths[:, None], source.masks[:, None].to(uv)], 1)
    sampled = F.grid_sample(layers, grid, padding_mode="zeros", align_corners=False)[0]
    # all four pixels around are in the source's mask
    inside = sampled[4] > 1 - 1e-4
    same = (sampled[3] - z[0]).abs() <= tolerance * z[0]
    return sampled[:3].movedim(0, -1), inside & same & (depths[0] > 0) & masks[0]


def composite(anchors: Sequence[Views], target: Views) -> tuple[Float[Tensor, "H W 3"], Bool[Tensor, "H W"]]:
    """The target's picture with earlier edits in it, the nearest camera's first, and where there are any."""
    picture, known = target.photos[0].clone(), torch.zeros_like(target.photos[0, ..., 0], dtype=torch.bool)
    distances = [float((anchor.cameras.centers - target.cameras.centers).norm()) for anchor in anchors]
    for _, anchor in sorted(zip(distances, anchors, strict=True), key=lambda pair: pair[0]):
        warped, there = warp(anchor, target)
        there &= ~known
        picture[there] = warped[there]
        known |= there
    return picture, known


def reprojection_error(candidate: Views, reference: Views) -> float | None:
    """Mean absolute colour difference where both views show the part; None where they share too few pixels."""
    warped, there = warp(reference, candidate)
    if int(there.sum()) < ENOUGH:
        return None
    return float((warped - candidate.photos[0])[there].abs().mean())


def agreeing(edits: Sequence[Views], config: AnchorConfig = AnchorConfig()) -> list[int]:
    """Rows of the edits that agree with the one that agrees with most: a first edit that failed must not decide."""
    rows = [[j for j, other in enumerate(edits) if i == j or agrees(other, one, config)] for i, one in enumerate(edits)]
    return max(rows, key=len, default=[])


def agrees(candidate: Views, reference: Views, config: AnchorConfig = AnchorConfig()) -> bool:
    """The gate: whether an edit may be an anchor beside the first one. It may where the two share nothing."""
    error = reprojection_error(candidate, reference)
    return error is None or error <= config.gate
