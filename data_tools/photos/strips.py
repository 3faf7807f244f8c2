"""A picture shrunk in strips of rows, so that a huge photo needs no more memory than its pixels as they are stored."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from .images import resize_area

STRIP = 1 << 21
"""Pixels of a strip; pictures up to this size are made at once."""
LEAST = 1e-3
"""Parts of a pixel below this count nothing, as in OpenCV."""

Layers = TypeVar("Layers", bound=tuple[Float32[ndarray, "..."] | None, ...])


def shrunk_in_strips(rows: Callable[[int, int], Layers], size: tuple[int, int], to: tuple[int, int]) -> Layers:
    """Shrinks by averaging areas, as `resize_area` does, up to rounding.

    `rows(start, stop)` makes these rows of the picture, of `size` = width and height, in one or more layers; None = no
    such layer. `to` = width and height of the result.
    """
    (full_width, full_height), (width, height) = size, to
    if full_width * full_height <= STRIP:
        return _each(lambda layer: resize_area(layer, width, height), rows(0, full_height))
    ratio = full_height / height
    step = max(1, int(STRIP / (full_width * ratio)))
    strips = []
    for start in range(0, height, step):
        stop = min(start + step, height)
        first, last = math.floor(start * ratio), min(math.ceil(stop * ratio), full_height)
        cells = [_cell(row, ratio, full_height) for row in range(start, stop)]
        whole = full_height % height == 0 and full_width % width == 0
        made = rows(first, last)
        if whole:  # OpenCV rounds these otherwise
            strips.append(_each(lambda layer, count=stop - start: resize_area(layer, width, count), made))
        else:
            strips.append(_each(lambda layer, at=first, cells=cells: _averaged(layer, at, cells, width), made))
    layers = [None if parts[0] is None else np.concatenate(parts) for parts in zip(*strips, strict=True)]
    return type(strips[0])(layers)


def _each(function: Callable[[ndarray], ndarray], layers: Layers) -> Layers:
    return type(layers)(None if layer is None else function(layer) for layer in layers)


def _cell(row: int, ratio: float, full: int) -> tuple[int, Float32[ndarray, "R"]]:
    """The first full row of a row of the result, and the weights of it and those behind it."""
    low, high = row * ratio, min((row + 1) * ratio, full)
    first, last = math.floor(low + LEAST), math.ceil(high - LEAST)
    edges = np.clip(np.arange(first, last + 1), low, high)
    return first, (np.diff(edges) / (high - low)).astype(np.float32)


def _averaged(
    layer: Float32[ndarray, "R W *C"], start: int, cells: list[tuple[int, ndarray]], width: int
) -> Float32[ndarray, "r w *C"]:
    """Rows from `start` on, averaged over the cells."""
    narrow = resize_area(layer, width, len(layer))
    return np.stack([np.tensordot(w, narrow[i - start : i - start + len(w)], 1) for i, w in cells])
