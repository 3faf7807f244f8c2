"""The prompt that names an object and its parts, and which of its characters are which part."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.diffusion.word_maps import TAU
from gs_reg.errors import InputError

TEXT_LIMIT = 77
"""Tokens of CLIP's text, with its first and last one."""
VIEW_ANGLE = 30.0
"""Degrees from the front, the back or from straight above."""


@dataclass(frozen=True)
class PartPrompt:
    """What the user says of an object: its name, its parts from small to large, how sharply each is to be read.

    Raises:
        InputError: no part, or one twice, without letters, or called background; a tau that is not above 0.
    """

    object: str
    parts: tuple[str, ...]
    tau: tuple[float, ...] = ()
    """Of each part; none = the teacher's own for all."""
    front: tuple[float, float, float] | None = None
    """Direction in the world from the object to who looks at its front; with it, prompts say the side that is seen."""
    up: tuple[float, float, float] = (0.0, 1.0, 0.0)

    def __post_init__(self) -> None:
        names = [part.strip().lower() for part in self.parts]
        if not names or not self.object.strip() or not all(names):
            raise InputError(f"parts: expected an object and at least one part, got {self.object!r} and {self.parts}")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"parts: {', '.join(twice)}: named twice")
        if "background" in names:
            raise InputError("parts: background is what no part is, and has no name of its own")
        if self.tau and (len(self.tau) != len(names) or not all(0 < t < math.inf for t in self.tau)):
            raise InputError(f"tau: expected {len(names)} values above 0, one for each part, got {list(self.tau)}")

    def taus(self, default: float = TAU, by_name: Mapping[str, float] | None = None) -> Float[Tensor, "L"]:
        """Those that the user gave; else those of a teacher by the part's name, else its default."""
        return torch.tensor(self.tau or [(by_name or {}).get(part, default) for part in self.parts])

    def view_words(self, centers: Float[Tensor, "C 3"], middle: Float[Tensor, "3"]) -> list[str]:
        """What each camera sees of an object in the middle: front, side, back, overhead; "" without a front."""
        if self.front is None:
            return [""] * len(centers)
        up, front = (torch.nn.functional.normalize(torch.tensor(v).to(centers), dim=0) for v in (self.up, self.front))
        front = front - (front @ up) * up
        if not float(front.norm()) > 1e-6:
            raise InputError(f"front: {self.front}: expected a direction that is not up or down")
        right, away = torch.linalg.cross(up, front), centers - middle
        high = torch.rad2deg(torch.asin(torch.nn.functional.normalize(away, dim=1) @ up))
        turned = torch.rad2deg(torch.atan2(away @ right, away @ front))
        return [view_word(*place) for place in zip(turned.tolist(), high.tolist(), strict=True)]


@dataclass(frozen=True)
class Pass:
    """One prompt for some of the parts: rows in PartPrompt.parts, and the characters of each."""

    text: str
    rows: tuple[int, ...]
    ranges: tuple[tuple[int, int], ...]


def composed(object_prompt: str, parts: tuple[str, ...], rows: tuple[int, ...], view: str = "") -> Pass:
    """The object, "with", the parts joined by "and" (RoMaP's form), and the view last."""
    text, ranges = object_prompt.strip(), []
    for number, row in enumerate(rows):
        text += " and " if number else " with "
        name = parts[row].strip()
        ranges.append((len(text), len(text) + len(name)))
        text += name
    return Pass(f"{text}, {view} view" if view else text, rows, tuple(ranges))


def passes(prompt: PartPrompt, length: Callable[[str], int], limit: int, view: str = "") -> list[Pass]:
    """As few prompts as hold all parts, in their order, each at most `limit` tokens long.

    Raises:
        InputError: the object and a single part are longer.
    """
    done: list[Pass] = []
    rows: tuple[int, ...] = ()
    for row, part in enumerate(prompt.parts):
        longer = composed(prompt.object, prompt.parts, (*rows, row), view)
        if length(longer.text) > limit and rows:
            done.append(composed(prompt.object, prompt.parts, rows, view))
            rows, longer = (), composed(prompt.object, prompt.parts, (row,), view)
        if length(longer.text) > limit:
            raise InputError(f"part {part!r}: with the object's prompt longer than the {limit} tokens of the model")
        rows = longer.rows
    return [*done, composed(prompt.object, prompt.parts, rows, view)]


def view_word(azimuth: float, elevation: float) -> str:
    """front, side, back or overhead, from degrees; azimuth 0 looks at the front."""
    if elevation > 90 - VIEW_ANGLE:
        return "overhead"
    turned = abs((azimuth + 180) % 360 - 180)
    return "front" if turned <= VIEW_ANGLE else "back" if turned >= 180 - VIEW_ANGLE else "side"
