"""The noise path of flow models: raw fraction u in (0, 1], noise level sigma = s u / (1 + (s - 1) u) with shift s."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

Number = TypeVar("Number", float, Tensor)

SHIFT = 3.0
"""Of SD3."""
MAP_PATH = (0.020, 0.156, 0.292, 0.428)
"""u of the four calls by which part maps are made; the maps are those of the last one (RoMaP's release)."""


def sigma_of(u: Number, shift: float = SHIFT) -> Number:
    return shift * u / (1 + (shift - 1) * u)
