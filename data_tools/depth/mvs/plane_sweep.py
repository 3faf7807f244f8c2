"""Plane sweep: match costs on planes of constant depth; semi-global matching (Hirschmueller 2008) picks one a pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int16, UInt8
from numpy import ndarray

from .images import Frame, pair_motion, plane_homography, seen_at

RADIUS = 2
"""Half side of the matching window, pixels."""
COLOR_SCALE = 100.0
"""Summed RGB difference at which a neighbour counts 1/e."""
LIMIT, CENTER_LIMIT, CENTER_SHARE = 20.0, 30.0, 0.2
GAIN, UNSEEN = 400.0, 0.35
SMALL = 30
"""Price of a step by one plane."""
LARGE, LARGE_LEAST, EDGE = 250.0, 40.0, 30.0
"""Price of any step: from LARGE down to LARGE_LEAST with a decay of EDGE grey levels between the neighbours."""
ANCHOR = 60.0
"""Completion: price of leaving a believed depth, a plane."""
BEFORE = 50.0
"""Completion: price of a point floating before another view's surface."""
STEP_PX = 0.7


def choose_planes(frame: Frame, others: Sequence[Frame], bounds: tuple[float, float], most: int) -> Float[ndarray, "D"]:
    """Inverse depths, evenly spaced so that one step moves a pixel by STEP_PX in the view where it moves most."""
    moves = []
    for other in others:
        near, _, a = seen_at(frame, other, np.full(frame.grey.shape, bounds[1]))
        far, _, b = seen_at(frame, other, np.full(frame.grey.shape, bounds[0]))
        both = a & b if (a & b).any() else a | b
        if both.any():
            moves.append(float(np.median(np.linalg.norm(near - far, axis=-1)[both])))
    count = int(np.clip(max(moves, default=0.0) / STEP_PX + 2, 16, most))
    return np.linspace(bounds[0], bounds[1], count)


def sweep(frame: Frame, others: Sequence[Frame], planes: Float[ndarray, "D"]) -> Float[ndarray, "H W"]:
    """Inverse depth of every pixel by matching its surroundings in the other photos."""
    import cv2

    from . import _kernels

    def padded(image):
        return cv2.copyMakeBorder(image, RADIUS, RADIUS, RADIUS, RADIUS, cv2.BORDER_REPLICATE)

    height, width = frame.grey.shape
    weights = np.empty((height, (2 * RADIUS + 1) ** 2 - 1, width), np.float32)
    _kernels.support_weights(padded(frame.rgb), RADIUS, np.float32(COLOR_SCALE), weights)
    ref = padded(np.round(frame.grey).astype(np.int16))
    motions = [pair_motion(frame, other) for other in others]
    warped = np.empty((height, width), np.int16)
    costs = np.empty((len(others), height, width), np.float32)
    volume = np.empty((len(planes), height, width), np.uint8)
    limits = np.float32(LIMIT), np.float32(CENTER_LIMIT), np.float32(CENTER_SHARE)
    for k, w in enumerate(planes):
        for j, other in enumerate(others):
            _kernels.warp_plane(other.grey, other.mask, plane_homography(motions[j], w), warped)
            _kernels.plane_cost(ref, padded(warped), weights, RADIUS, *limits, costs[j])
        _kernels.better_half(costs, np.float32(UNSEEN), np.float32(GAIN), volume[k])
    return _semi_global(frame, volume, planes)


def complete(
    frame: Frame,
    others: Sequence[Frame],
    planes: Float[ndarray, "D"],
    w: Float[ndarray, "H W"],
    believed: Bool[ndarray, "H W"],
    other_w: Sequence[Float[ndarray, "_ _"]],
    tolerances: Sequence[float],
) -> Float[ndarray, "H W"]:
    """Extend the believed depths to every pixel along the photo's even areas.

    A pixel that no view confirms may lie behind what the others see (then it is occluded there) but not float before
    it, so occluded pixels join the farther surface.
    """
    from . import _kernels

    motions = [pair_motion(frame, other) for other in others]
    level = (w - planes[0]) / (planes[1] - planes[0])
    state = np.empty(w.shape, np.uint8)
    volume = np.empty((len(planes), *w.shape), np.uint8)
    surfaces = [surface.astype(np.float32) for surface in other_w]
    for k, plane in enumerate(planes):
        cost = np.zeros(w.shape, np.float32)
        for motion, surface, tolerance in zip(motions, surfaces, tolerances, strict=True):
            _kernels.sight(surface, plane_homography(motion, plane), np.float32(plane), np.float32(tolerance), state)
            cost += np.where(state == 3, np.float32(BEFORE / len(others)), 0)
        volume[k] = np.where(believed, np.minimum(np.abs(level - k) * ANCHOR, 255), cost)
    return _semi_global(frame, volume, planes)


def _semi_global(frame: Frame, volume: UInt8[ndarray, "D H W"], planes: Float[ndarray, "D"]) -> Float[ndarray, "H W"]:
    from . import _kernels

    cost = np.ascontiguousarray(volume.transpose(1, 2, 0))
    total = np.zeros(cost.shape, np.uint16)
    grey: Int16[ndarray, "H W"] = np.round(frame.grey).astype(np.int16)
    large = np.maximum(LARGE_LEAST, LARGE * np.exp(-np.arange(256) / EDGE)).astype(np.int16)
    for backward in (False, True):
        _kernels.sgm_pass(cost, grey, total, np.int16(SMALL), large, backward)
    level = np.empty(grey.shape, np.float32)
    _kernels.winner(total, level)
    return planes[0] + level.astype(np.float64) * (planes[1] - planes[0])
