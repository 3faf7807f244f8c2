"""Plane sweep: a cost volume over planes of constant depth; semi-global matching picks one plane a pixel.

Costs are photo-consistency over windows with adaptive support weights (Yoon and Kweon 2006), averaged over the better
half of the views. Semi-global matching is Hirschmueller's (2008), over eight paths.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int16, Shaped, UInt8
from numpy import ndarray

from .images import Image, plane_homography, reproject, reprojection

RADIUS = 2
"""Half side of the matching window, pixels."""
COLOR_SCALE = 100.0
"""Summed RGB difference at which a neighbour counts 1/e."""
LIMIT, CENTER_LIMIT, CENTER_SHARE = 20.0, 30.0, 0.2
"""Grey levels at which differences in the window and at its centre are cut off, and the centre's share of the cost."""
GAIN, UNSEEN = 400.0, 0.35
"""From costs in [0, 1] to the bytes of the cost volume (cut off at 255), and the cost where no view sees the plane."""
P1 = 30
"""Semi-global matching's penalty for a step by one plane."""
P2, P2_MIN, P2_SCALE = 250.0, 40.0, 30.0
"""Its penalty for any larger step: P2 exp(-d / P2_SCALE) for neighbours d grey levels apart, at least P2_MIN."""
ANCHOR = 60.0
"""Completion: cost of leaving a confident depth, a plane."""
VIOLATION = 50.0
"""Completion: cost of a point in front of the surfaces of all other views; of some of them, a share."""
STEP_PX = 0.7


def choose_planes(ref: Image, others: Sequence[Image], bounds: tuple[float, float], most: int) -> Float[ndarray, "D"]:
    """Inverse depths, evenly spaced so that one step moves a pixel by STEP_PX in the view where it moves most."""
    moves = []
    for other in others:
        near, _, a = reproject(ref, other, np.full(ref.grey.shape, bounds[1]))
        far, _, b = reproject(ref, other, np.full(ref.grey.shape, bounds[0]))
        both = a & b if (a & b).any() else a | b
        if both.any():
            moves.append(float(np.median(np.linalg.norm(near - far, axis=-1)[both])))
    count = int(np.clip(max(moves, default=0.0) / STEP_PX + 2, 16, most))
    return np.linspace(bounds[0], bounds[1], count)


def sweep(ref: Image, others: Sequence[Image], planes: Float[ndarray, "D"]) -> Float[ndarray, "H W"]:
    """Inverse depth of every pixel by photo-consistency with the other images."""
    import cv2

    from . import _kernels

    def padded(image: Shaped[ndarray, "H W *C"]) -> Shaped[ndarray, "V U *C"]:
        return cv2.copyMakeBorder(image, RADIUS, RADIUS, RADIUS, RADIUS, cv2.BORDER_REPLICATE)

    height, width = ref.grey.shape
    weights = np.empty((height, (2 * RADIUS + 1) ** 2 - 1, width), np.float32)
    _kernels.support_weights(padded(ref.rgb), RADIUS, np.float32(COLOR_SCALE), weights)
    grey = padded(np.round(ref.grey).astype(np.int16))
    reprojections = [reprojection(ref, other) for other in others]
    warped = np.empty((height, width), np.int16)
    costs = np.empty((len(others), height, width), np.float32)
    volume = np.empty((len(planes), height, width), np.uint8)
    limits = np.float32(LIMIT), np.float32(CENTER_LIMIT), np.float32(CENTER_SHARE)
    for k, w in enumerate(planes):
        for j, other in enumerate(others):
            _kernels.warp_plane(other.grey, other.mask, plane_homography(reprojections[j], w), warped)
            _kernels.matching_cost(grey, padded(warped), weights, RADIUS, *limits, costs[j])
        _kernels.mean_of_better_half(costs, np.float32(UNSEEN), np.float32(GAIN), volume[k])
    return _semi_global(ref, volume, planes)


def complete(
    ref: Image,
    others: Sequence[Image],
    planes: Float[ndarray, "D"],
    w: Float[ndarray, "H W"],
    confident: Bool[ndarray, "H W"],
    other_w: Sequence[Float[ndarray, "_ _"]],
    tolerances: Sequence[float],
) -> Float[ndarray, "H W"]:
    """Extends the confident depths to every pixel along the photo's even areas.

    A pixel that no view confirms may lie behind what the others see (then it is occluded there) but not float in front
    of it, so occluded pixels join the farther surface.
    """
    from . import _kernels

    reprojections = [reprojection(ref, other) for other in others]
    level = (w - planes[0]) / (planes[1] - planes[0])
    state = np.empty(w.shape, np.uint8)
    volume = np.empty((len(planes), *w.shape), np.uint8)
    surfaces = [surface.astype(np.float32) for surface in other_w]
    for k, plane in enumerate(planes):
        cost = np.zeros(w.shape, np.float32)
        for m, surface, tolerance in zip(reprojections, surfaces, tolerances, strict=True):
            _kernels.plane_visibility(
                surface, plane_homography(m, plane), np.float32(plane), np.float32(tolerance), state
            )
            cost += np.where(state == _kernels.IN_FRONT, np.float32(VIOLATION / len(others)), 0)
        volume[k] = np.where(confident, np.minimum(np.abs(level - k) * ANCHOR, 255), cost)
    return _semi_global(ref, volume, planes)


def _semi_global(ref: Image, volume: UInt8[ndarray, "D H W"], planes: Float[ndarray, "D"]) -> Float[ndarray, "H W"]:
    """Inverse depth of every pixel, between planes by a parabola."""
    from . import _kernels

    cost = np.ascontiguousarray(volume.transpose(1, 2, 0))
    total = np.zeros(cost.shape, np.uint16)
    grey: Int16[ndarray, "H W"] = np.round(ref.grey).astype(np.int16)
    p2 = np.maximum(P2_MIN, P2 * np.exp(-np.arange(256) / P2_SCALE)).astype(np.int16)
    for backward in (False, True):
        _kernels.sgm_pass(cost, grey, total, np.int16(P1), p2, backward)
    level = np.empty(grey.shape, np.float32)
    _kernels.winner_takes_all(total, level)
    return planes[0] + level.astype(np.float64) * (planes[1] - planes[0])
