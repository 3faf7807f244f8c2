"""Small pieces that the readers share: text files, numbers and K matrices whose faults name their place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from gs_reg.errors import InputError

SKEW = 0.01
"""Pixels of skew, at the picture's far side, that are taken for rounding."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        InputError: missing, or no text.
    """
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({first_line(error)}): copy it again") from None


def number(value: object, place: str) -> float:
    """A finite number.

    Raises:
        InputError: another thing; `place` names the file and the value.
    """
    try:
        result = float(value) if isinstance(value, str | int | float) else np.nan
    except (ValueError, OverflowError):
        result = np.nan
    if not np.isfinite(result):
        raise InputError(f"{place}: expected a number, got {value!r:.40}")
    return result


def pinhole_params(K: Float[ndarray, "3 3"], place: str) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy of a 3x3 matrix.

    Raises:
        InputError: it has skew, or is no matrix of intrinsics.
    """
    fx, fy, cx, cy = (float(K[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
    if not np.isfinite(K).all() or K[2, 2] != 1 or K[1, 0] or K[2, 0] or K[2, 1]:
        raise InputError(f"{place}: K is {K.tolist()}: expected [f 0 cx; 0 f cy; 0 0 1]")
    if abs(K[0, 1]) * max(1.0, 2 * cy / max(fy, 1.0)) > SKEW:
        raise InputError(f"{place}: K has a skew of {K[0, 1]:g}: only cameras without skew can be read")
    return fx, fy, cx, cy
