"""Visibility mask of a held-out photo: which of its pixels some training photo has seen.

It is found from photos and cameras alone. The mask of the published few-view tables is not public; ours is a rule of
its own and says so: dense flow to a training photo and back ends within 1.4 px, and the match lies within 1.5 px of its
epipolar line; then a 5x5 closing.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.types import Cameras, Views

from .dis import DisFlow
from .types import Flow

ROUND_TRIP_PIXELS, EPIPOLAR_PIXELS = 1.4, 1.5
CLOSING = 5
"""Side of the square of the morphological closing, pixels."""


def seen_mask(view: Views, training: Sequence[Views], flow: Flow = DisFlow()) -> Bool[Tensor, "H W"]:
    """True where at least one of the training views matches the pixel."""
    import cv2

    seen = torch.zeros(view.photos.shape[1:3], dtype=torch.bool)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for mask in pool.map(lambda other: matched(view, other, flow), training):
            seen |= mask
    kernel = np.ones((CLOSING, CLOSING), np.uint8)
    return torch.from_numpy(cv2.morphologyEx(seen.numpy().astype(np.uint8), cv2.MORPH_CLOSE, kernel) > 0)


def matched(view: Views, other: Views, flow: Flow = DisFlow()) -> Bool[Tensor, "H W"]:
    """Pixels of `view` whose flow to `other` passes the forward-backward check and the epipolar constraint."""
    return consistent(view.cameras, other.cameras, flow(view, other), flow(other, view))


def consistent(
    camera: Cameras, other: Cameras, there: Float[Tensor, "H W 2"], back: Float[Tensor, "h w 2"]
) -> Bool[Tensor, "H W"]:
    """Pixels whose flow ends in the other picture, near the epipolar line, and comes back by less than 1.4 px."""
    height, width = there.shape[:2]
    pixels = torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), -1) + 0.5
    landed = pixels + there
    returned = sample(back, landed)
    inside = ((landed > 0) & (landed < torch.tensor([back.shape[1], back.shape[0]]))).all(-1)
    closed = (there + returned).norm(dim=-1) < ROUND_TRIP_PIXELS
    return inside & closed & (epipolar_distance(camera, other, pixels, landed) < EPIPOLAR_PIXELS)


def sample(field: Float[Tensor, "H W D"], points: Float[Tensor, "h w 2"]) -> Float[Tensor, "h w D"]:
    """Bilinear values at pixel positions (centres at +0.5), clamped at the border."""
    size = torch.tensor([field.shape[1], field.shape[0]])
    grid = (2 * points / size - 1)[None]
    out = torch.nn.functional.grid_sample(field.movedim(-1, 0)[None], grid, padding_mode="border", align_corners=False)
    return out[0].movedim(0, -1)


def epipolar_distance(
    a: Cameras, b: Cameras, points: Float[Tensor, "*B 2"], matches: Float[Tensor, "*B 2"]
) -> Float[Tensor, "*B"]:
    """Pixels between each match in `b` and the epipolar line of its point in `a`."""
    b_from_a = b.viewmats[0].double() @ torch.linalg.inv(a.viewmats[0].double())
    tx, ty, tz = b_from_a[:3, 3].tolist()
    cross = torch.tensor([[0, -tz, ty], [tz, 0, -tx], [-ty, tx, 0]], dtype=torch.float64)
    # the fundamental matrix, K_b^-T [t]x R K_a^-1
    F = torch.linalg.inv(b.Ks[0].double()).T @ cross @ b_from_a[:3, :3] @ torch.linalg.inv(a.Ks[0].double())
    homogeneous = torch.nn.functional.pad(points.double(), (0, 1), value=1.0)
    lines = homogeneous @ F.T
    distance = (torch.nn.functional.pad(matches.double(), (0, 1), value=1.0) * lines).sum(-1).abs()
    return (distance / lines[..., :2].norm(dim=-1).clamp_min(1e-12)).to(points)
