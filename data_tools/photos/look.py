"""A look at plain photos before the long work: one that is there twice, or of one colour, helps nobody."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from .images import resize_area

SIDE = 32
ALIKE, FLAT = 1.0, 2.0
"""Mean difference of two thumbnails, and spread within one, in steps of 255: what compression leaves."""


def thumbnail(pixels: UInt8[ndarray, "H W 3"]) -> Float32[ndarray, "h w 3"]:
    """The photo shrunk to 32x32 by averaging areas, its shape lost."""
    return resize_area(pixels, SIDE, SIDE).astype(np.float32)


def warnings(photos: Sequence[Path], thumbnails: Sequence[Float32[ndarray, "h w 3"]]) -> tuple[str, ...]:
    """A line for every photo of one colour, and for every one that shows the same as an earlier one."""
    lines, earlier = [], []
    for photo, small in zip(photos, thumbnails, strict=True):
        if np.ptp(small, axis=(0, 1)).max() < FLAT:
            lines.append(f"{photo.name}: one colour all over: leave it out")
            continue
        twin = next((other for other, seen in earlier if np.abs(seen - small).mean() < ALIKE), None)
        if twin is not None:
            lines.append(f"{photo.name}: the same picture as {twin.name}: leave one out")
        earlier.append((photo, small))
    return tuple(lines)
