"""Do the depths of several views agree? A pixel is believed when other views see the same surface there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from .images import Frame, seen_at


@dataclass(frozen=True)
class Agreement:
    on: Bool[ndarray, "J H W"]
    """The other view has the same surface there."""
    hidden: Bool[ndarray, "J H W"]
    """The point lies behind the other view's surface, or outside its picture."""
    before: Bool[ndarray, "J H W"]
    """The point floats before the other view's surface: one of the two is wrong."""

    @property
    def views(self) -> Int[ndarray, "H W"]:
        return self.on.sum(0)

    @property
    def confirmed(self) -> Bool[ndarray, "H W"]:
        """Two views agree where three could see the point, else one."""
        return self.views >= np.where((~self.hidden).sum(0) >= 3, 2, 1)


def agreement(
    frame: Frame,
    others: Sequence[Frame],
    w: Float[ndarray, "H W"],
    other_w: Sequence[Float[ndarray, "_ _"]],
    tolerances: Sequence[float | Float[ndarray, "H W"]],
) -> Agreement:
    """Carry every pixel to the other views and compare inverse depths there; `tolerances` are in those."""
    on, hidden, before = [], [], []
    for other, surface, tolerance in zip(others, other_w, tolerances, strict=True):
        q, expected, inside = seen_at(frame, other, w)
        x, y = (np.where(inside, q[..., k], 0).astype(np.intp) for k in (0, 1))
        gap = expected - surface[y, x]
        usable = inside & other.mask[y, x]
        on.append(usable & (np.abs(gap) <= tolerance))
        hidden.append(~inside | (gap < -tolerance))
        before.append(usable & (gap > tolerance))
    return Agreement(np.stack(on), np.stack(hidden), np.stack(before))


def without_speckles(
    believed: Bool[ndarray, "H W"], w: Float[ndarray, "H W"], step: float, smallest: int
) -> Bool[ndarray, "H W"]:
    """Drop believed patches of fewer than `smallest` pixels, cut where neighbours differ by more than one `step`."""
    import cv2

    level = np.round((w - w.min()) / step * 16).clip(0, 32000).astype(np.int16)
    level[~believed] = -1000
    cv2.filterSpeckles(level, -1000, smallest, 16)
    return level != -1000
