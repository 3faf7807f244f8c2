"""Where both eyes look, in an avatar whose channels have ARKit's names for it."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

Rows = Mapping[str, tuple[int, int]]
"""Channels of the left and of the right eye, by direction."""
DIRECTIONS = ("In", "Out", "Up", "Down")


def rows_of(channels: tuple[str, ...]) -> Rows | None:
    """None where a channel of either eye is missing."""
    places = {name: row for row, name in enumerate(channels)}
    names = {way: (f"eyeLook{way}Left", f"eyeLook{way}Right") for way in DIRECTIONS}
    if any(name not in places for pair in names.values() for name in pair):
        return None
    return {way: (places[left], places[right]) for way, (left, right) in names.items()}


def looking(code: Float[Tensor, "D"], rows: Rows, left: float, up: float) -> Float[Tensor, "D"]:
    """The code with both eyes turned so far to the subject's left and up, -1 to 1 of what the channels do."""
    code = code.clone()
    # the left eye looks to the left outwards, the right eye inwards
    for way, values in (("Out", (left, -left)), ("In", (-left, left)), ("Up", (up, up)), ("Down", (-up, -up))):
        for row, value in zip(rows[way], values, strict=True):
            code[row] = max(value, 0.0)
    return code


def direction(code: Float[Tensor, "D"], rows: Rows) -> tuple[float, float]:
    """Left and up, the mean of both eyes."""
    out, inward, up, down = (code[[*rows[way]]] for way in ("Out", "In", "Up", "Down"))
    outward = out - inward
    return float(outward[0] - outward[1]) / 2, float((up - down).mean())
