"""Sub-pixel refinement at full resolution: match windows along each epipolar line, then triangulate over all views."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from ..triangulate import Triangulation, triangulate
from .images import Image, reproject, reprojection

WINDOW = 5
NOISE = 12.0
"""Grey levels by which windows may differ for reasons other than their place."""
ROUNDS = 3


def upsample(w: Float[ndarray, "h v"], small: Image, image: Image) -> Float[ndarray, "H W"]:
    """Colour-guided upsampling: each pixel takes, of the nearest 3x3, the depth of the pixel of the likest colour."""
    rows, columns = image.grey.shape
    if w.shape == (rows, columns):
        return w
    y = ((np.arange(rows) + 0.5) * w.shape[0] / rows).astype(np.intp)[:, None]
    x = ((np.arange(columns) + 0.5) * w.shape[1] / columns).astype(np.intp)[None]
    best, out = np.full((rows, columns), np.inf, np.float32), np.empty((rows, columns))
    for dy in (0, -1, 1):  # the pixel itself comes first: it wins ties
        for dx in (0, -1, 1):
            v, u = (y + dy).clip(0, w.shape[0] - 1), (x + dx).clip(0, w.shape[1] - 1)
            unlike = np.abs(small.rgb[v, u].astype(np.float32) - image.rgb).sum(-1) + 4.0 * (abs(dx) + abs(dy))
            out = np.where(unlike < best, w[v, u], out)
            best = np.minimum(best, unlike)
    return out


def refine(
    ref: Image,
    others: Sequence[Image],
    w: Float[ndarray, "H W"],
    consistent: Bool[ndarray, "J H W"],
    step: float,
) -> Triangulation:
    """Moves the inverse depth of every pixel by up to 2 `step`, using the views that are consistent there."""
    found = _round(ref, others, w, w, consistent, step)
    for _ in range(ROUNDS - 1):
        found = _round(ref, others, found.inverse_depth.numpy(), w, consistent, step)
    return found


def _round(
    ref: Image,
    others: Sequence[Image],
    current: Float[ndarray, "H W"],
    start: Float[ndarray, "H W"],
    consistent: Bool[ndarray, "J H W"],
    step: float,
) -> Triangulation:
    """Matches around the current inverse depth, triangulated; pixels without a usable result go back to `start`."""
    rays, shifts, matches, confidence = [], [], [], []
    for j, other in enumerate(others):
        moved, certainty = _match_windows(ref, other, current, step)
        m, b = reprojection(ref, other)
        q, _, inside = reproject(ref, other, moved)
        rays.append(_rays(ref, m))
        shifts.append(np.broadcast_to(b, rays[-1].shape))
        matches.append(q)
        confidence.append(np.where(inside & consistent[j], certainty, 0.0))
    a, b, q, k = (torch.from_numpy(np.stack(x, axis=2)) for x in (rays, shifts, matches, confidence))
    found = triangulate(a, b, q, k, rounds=2)
    new = found.inverse_depth.numpy()
    usable = np.isfinite(found.sd.numpy()) & found.front.numpy()
    limited = np.where(usable, np.clip(new, start - 2 * step, start + 2 * step), start)
    return Triangulation(torch.from_numpy(limited), found.sd, found.residual, found.front)


def _rays(ref: Image, m: Float[ndarray, "3 3"]) -> Float[ndarray, "H W 3"]:
    height, width = ref.grey.shape
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    return m[:, 0] * x[None, :, None] + m[:, 1] * y[:, None, None] + m[:, 2]


def _match_windows(
    ref: Image, other: Image, w: Float[ndarray, "H W"], step: float
) -> tuple[Float[ndarray, "H W"], Float[ndarray, "H W"]]:
    """One Gauss-Newton step of window matching in w, and the certainty of the match (1 / squared pixels)."""
    import cv2

    def sample(inverse_depth: Float[ndarray, "H W"]) -> tuple[Float[ndarray, "H W"], Float[ndarray, "H W 2"]]:
        q, _, _ = reproject(ref, other, inverse_depth)
        x, y = (q[..., k].astype(np.float32) - 0.5 for k in (0, 1))  # OpenCV counts pixel centres from 0
        return cv2.remap(other.grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), q

    def mean(x: Float[ndarray, "H W"]) -> Float[ndarray, "H W"]:
        return cv2.blur(x, (WINDOW, WINDOW))

    half = 0.25 * step
    (plus, q_plus), (minus, q_minus) = sample(w + half), sample(w - half)
    slope = (plus - minus) / 2
    gap = ref.grey - (plus + minus) / 2
    # means over the window are taken off slope and gap, so that a difference in brightness moves nothing
    energy = mean(slope * slope) - mean(slope) ** 2
    shift = (mean(slope * gap) - mean(slope) * mean(gap)) / (energy + NOISE**2 / WINDOW**2)
    pixels = np.linalg.norm(q_plus - q_minus, axis=-1) / 2
    misfit = np.maximum(mean(gap * gap) - mean(gap) ** 2 - energy * shift**2, NOISE**2)
    certainty = np.maximum(energy, 0) * WINDOW**2 / misfit / np.maximum(pixels, 1e-6) ** 2
    return w + np.clip(shift * half, -step, step), np.clip(certainty, 1e-3, 1e3)
