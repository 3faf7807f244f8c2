"""The published benchmark of part edits (RoMaP): 25 edits of faces, on 3 scenes, which are the user's to bring.

Parts and looks are as the paper lists them; the words around them are ours, as the paper does not print whole prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gs_reg.errors import InputError

Group = Literal["eyes", "nose", "mouth", "hair", "hard"]
"""In which the paper gives its figures."""
OBJECT = "a photo of a face"
PARTS = "eyes:0.1,nose:0.1,mouth:0.1,hair:0.2"
"""With the temperatures that the paper reads faces at."""
LOOKS = ("silver", "gold", "diamond", "green", "pink")
EASY: tuple[tuple[Group, str], ...] = (
    ("eyes", "{look} eyes"),
    ("nose", "a {look} nose"),
    ("mouth", "a {look} mouth"),
    ("hair", "{look} hair"),
)
HARD = (
    ("nose", "a croissant nose"),
    ("hair", "steampunk-gear hair"),
    ("hair", "red-blue flame hair"),
    ("hair", "butterfly hair"),
    ("eyes", "one blue and one green eye"),
)
SCENES = 3


@dataclass(frozen=True)
class PublishedEdit:
    group: Group
    part: str
    edit: str

    def flags(self) -> list[str]:
        """Of `gs-reg edit run`, without scene, model and preset: these are the same for all edits."""
        return ["--object", OBJECT, "--parts", PARTS, "--part", self.part, "--edit", self.edit]


EDITS: tuple[PublishedEdit, ...] = (
    *(PublishedEdit(part, part, words.format(look=look)) for part, words in EASY for look in LOOKS),
    *(PublishedEdit("hard", part, edit) for part, edit in HARD),
)


def published_jobs(scenes: Sequence[str]) -> Iterator[tuple[str, PublishedEdit]]:
    """Each of the 25 edits on each of the user's scenes of faces.

    Raises:
        InputError: not as many scenes as the published set has, or one of them twice.
    """
    if len(scenes) != SCENES or len(set(scenes)) != SCENES:
        raise InputError(f"the published set has {SCENES} scenes of faces, got {len(set(scenes))}")
    return ((scene, edit) for scene in scenes for edit in EDITS)
