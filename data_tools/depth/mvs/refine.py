"""Sub-pixel matches at full size: slide along each epipolar line until the windows fit, then triangulate all views."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from ..triangulate import Triangulation, triangulate
from .images import Frame, pair_motion, seen_at

WINDOW = 5
NOISE = 12.0
"""Grey levels by which windows may differ for reasons other than their place."""
ROUNDS = 3


def enlarge(w: Float[ndarray, "h v"], small: Frame, frame: Frame) -> Float[ndarray, "H W"]:
    """The search's result at full size: each pixel takes, of the nearest 3x3, the depth of the one most like it."""
    rows, columns = frame.grey.shape
    if w.shape == (rows, columns):
        return w
    y = ((np.arange(rows) + 0.5) * w.shape[0] / rows).astype(np.intp)[:, None]
    x = ((np.arange(columns) + 0.5) * w.shape[1] / columns).astype(np.intp)[None]
    best, out = np.full((rows, columns), np.inf, np.float32), np.empty((rows, columns))
    for dy in (0, -1, 1):
        for dx in (0, -1, 1):
            v, u = (y + dy).clip(0, w.shape[0] - 1), (x + dx).clip(0, w.shape[1] - 1)
            unlike = np.abs(small.rgb[v, u].astype(np.float32) - frame.rgb).sum(-1) + 4.0 * (abs(dx) + abs(dy))
            out = np.where(unlike < best, w[v, u], out)
            best = np.minimum(best, unlike)
    return out


def refine(
    frame: Frame,
    others: Sequence[Frame],
    w: Float[ndarray, "H W"],
    on: Bool[ndarray, "J H W"],
    step: float,
) -> Triangulation:
    """Move the inverse depth of every pixel by up to `step` a round, using the views that confirm it (`on`)."""
    current = w
    result = None
    for _ in range(ROUNDS):
        rays, shifts, matches, confidence = [], [], [], []
        for j, other in enumerate(others):
            moved, certainty = _slide(frame, other, current, step)
            m, b = pair_motion(frame, other)
            q, _, inside = seen_at(frame, other, moved)
            rays.append(_rays(frame, m))
            shifts.append(np.broadcast_to(b, rays[-1].shape))
            matches.append(q)
            confidence.append(np.where(inside & on[j], certainty, 0.0))
        stacked = [torch.from_numpy(np.stack(x, axis=2)) for x in (rays, shifts, matches, confidence)]
        result = triangulate(*stacked, rounds=2)
        new = result.inverse_depth.numpy()
        good = np.isfinite(result.sd.numpy()) & result.front.numpy()
        current = np.where(good, np.clip(new, w - 2 * step, w + 2 * step), w)
    return Triangulation(torch.from_numpy(current), result.sd, result.residual, result.front)


def _rays(frame: Frame, m: Float[ndarray, "3 3"]) -> Float[ndarray, "H W 3"]:
    height, width = frame.grey.shape
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    return m[:, 0] * x[None, :, None] + m[:, 1] * y[:, None, None] + m[:, 2]


def _slide(
    frame: Frame, other: Frame, w: Float[ndarray, "H W"], step: float
) -> tuple[Float[ndarray, "H W"], Float[ndarray, "H W"]]:
    """One Gauss-Newton step of window matching in w, and the certainty of the match (1 / squared pixels)."""
    import cv2

    def sample(inverse_depth):
        q, _, _ = seen_at(frame, other, inverse_depth)
        x, y = (q[..., k].astype(np.float32) - 0.5 for k in (0, 1))
        return cv2.remap(other.grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), q

    def mean(x):
        return cv2.blur(x, (WINDOW, WINDOW))

    half = 0.25 * step
    (plus, q_plus), (minus, q_minus) = sample(w + half), sample(w - half)
    slope = (plus - minus) / 2
    gap = frame.grey - (plus + minus) / 2
    energy = mean(slope * slope) - mean(slope) ** 2
    shift = (mean(slope * gap) - mean(slope) * mean(gap)) / (energy + NOISE**2 / WINDOW**2)
    pixels = np.linalg.norm(q_plus - q_minus, axis=-1) / 2
    misfit = np.maximum(mean(gap * gap) - mean(gap) ** 2 - energy * shift**2, NOISE**2)
    certainty = np.maximum(energy, 0) * WINDOW**2 / misfit / np.maximum(pixels, 1e-6) ** 2
    return w + np.clip(shift * half, -step, step), np.clip(certainty, 1e-3, 1e3)
