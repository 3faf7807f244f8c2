"""Geometric consistency between depth maps: a depth is trusted where other views have the same surface there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from .images import Image, reproject


@dataclass(frozen=True)
class Consistency:
    """One view's depth map against those of J others."""

    consistent: Bool[ndarray, "J H W"]
    """The other view has the same surface there."""
    occluded: Bool[ndarray, "J H W"]
    """The point lies behind the other view's surface, or outside its picture."""
    violating: Bool[ndarray, "J H W"]
    """The point floats in front of the other view's surface, in space that it sees through: one of the two is wrong."""

    @property
    def views(self) -> Int[ndarray, "H W"]:
        """Number of consistent views."""
        return self.consistent.sum(0)

    @property
    def confirmed(self) -> Bool[ndarray, "H W"]:
        """Two views agree where three could see the point, else one."""
        return self.views >= np.where((~self.occluded).sum(0) >= 3, 2, 1)


def check_consistency(
    ref: Image,
    others: Sequence[Image],
    w: Float[ndarray, "H W"],
    other_w: Sequence[Float[ndarray, "_ _"]],
    tolerances: Sequence[float | Float[ndarray, "H W"]],
) -> Consistency:
    """Reprojects every pixel into the other views and compares inverse depths there; `tolerances` are in those."""
    consistent, occluded, violating = [], [], []
    for other, surface, tolerance in zip(others, other_w, tolerances, strict=True):
        q, expected, inside = reproject(ref, other, w)
        # the nearest pixel, not an interpolated one: a blend of two surfaces is neither
        x, y = (np.where(inside, q[..., k], 0).astype(np.intp) for k in (0, 1))
        gap = expected - surface[y, x]
        usable = inside & other.mask[y, x]
        consistent.append(usable & (np.abs(gap) <= tolerance))
        occluded.append(~inside | (gap < -tolerance))
        violating.append(usable & (gap > tolerance))
    return Consistency(np.stack(consistent), np.stack(occluded), np.stack(violating))


def without_speckles(
    confident: Bool[ndarray, "H W"], w: Float[ndarray, "H W"], step: float, smallest: int
) -> Bool[ndarray, "H W"]:
    """Drops confident regions of fewer than `smallest` pixels, cut where neighbours differ by more than one `step`."""
    import cv2

    # OpenCV's filter takes 16-bit disparities in sixteenths of a step; -1000 is no level that occurs
    level = np.round((w - w.min()) / step * 16).clip(0, 32000).astype(np.int16)
    level[~confident] = -1000
    cv2.filterSpeckles(level, -1000, smallest, 16)
    return level != -1000
