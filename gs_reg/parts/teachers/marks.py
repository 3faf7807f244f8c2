"""Clicks and boxes by which a user says what belongs to a part and what does not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gs_reg.errors import InputError

FORM = "PART=VIEW:X,Y for a click, PART=VIEW:X0,Y0,X1,Y1 for a box in a view, PART=X0,Y0,Z0,X1,Y1,Z1 for one in space"
NOT = "!"
"""Before the part's name: this does not belong to it."""


@dataclass(frozen=True)
class Mark:
    """A click (2 numbers), a box in a view (4) or a box in space (6), its lower corner first."""

    part: str
    view: str
    """Name of a view; "" for a box in space."""
    numbers: tuple[float, ...]
    """Pixels of the view, or world units."""
    wanted: bool = True
    """False: does not belong to the part."""

    def __str__(self) -> str:
        sign, view = "" if self.wanted else NOT, f"{self.view}:" if self.view else ""
        return f"{sign}{self.part}={view}{','.join(f'{n:g}' for n in self.numbers)}"


def parse_mark(text: str) -> Mark:
    """Raises InputError with the three forms."""
    name, equals, place = text.partition("=")
    view, colon, listed = place.rpartition(":")
    try:
        numbers = tuple(float(word) for word in listed.split(","))
    except ValueError:
        numbers = ()
    lengths = (2, 4) if colon else (6,)
    part, wanted = name.strip().removeprefix(NOT).strip(), not name.strip().startswith(NOT)
    if not equals or not part or len(numbers) not in lengths or not all(map(math.isfinite, numbers)):
        raise InputError(f"click {text!r}: expected {FORM}; {NOT} before PART = does not belong to it")
    half = len(numbers) // 2
    if len(numbers) > 2 and not all(a < b for a, b in zip(numbers[:half], numbers[half:], strict=True)):
        raise InputError(f"click {text!r}: expected a box with its lower corner first")
    return Mark(part, view.strip(), numbers, wanted)


def check_marks(marks: Sequence[Mark], parts: Sequence[str], views: Sequence[str] | None) -> None:
    """Whether every mark names a part and a view, and every part has a mark; views None are not known yet.

    Raises:
        InputError: the first that does not.
    """
    for mark in marks:
        if mark.part not in parts:
            raise InputError(f"click {mark}: no part {mark.part!r}; there are {', '.join(parts)}")
        if mark.view and views is not None and mark.view not in views:
            raise InputError(f"click {mark}: no view {mark.view!r}; there are {_listed(views)}")
    for part in parts:
        if not any(mark.part == part and mark.wanted for mark in marks):
            raise InputError(f"part {part!r}: no click on it; expected --clicks '{part}=VIEW:X,Y'")


def _listed(views: Sequence[str]) -> str:
    return ", ".join(views) if len(views) <= 6 else f"{', '.join(views[:5])} ... {views[-1]}"
