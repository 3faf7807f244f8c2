"""What a splat file says beside its splats: the offset of its positions, and how it is to be drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

RenderMode = Literal["default", "mip", "2dgs"]
"""The rasterisation that splats were trained with; mip = antialiased."""


@dataclass(frozen=True)
class Tags:
    """What a file tells of its splats."""

    offset: tuple[float, float, float] | None = None
    """What was subtracted from the positions; None = the file does not say."""
    render_mode: RenderMode = "default"


def three_numbers(values: Any) -> tuple[float, float, float]:
    """An offset as a file holds it; raises ValueError for anything but three finite numbers."""
    if isinstance(values, Sequence) and len(values) == 3 and all(isinstance(x, int | float) for x in values):
        x, y, z = map(float, values)
        if math.isfinite(x + y + z):
            return x, y, z
    raise ValueError(f"offset: expected three finite numbers, got {str(values)[:60]!a}")
