"""Prompts about objects: which words name which part, and random captions for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gs_reg.parts.prompts import view_word

from .colors import FINISHES, GREY, NAMES, Paint
from .families import PARTS

OPENINGS = ("a photo of a ", "a ", "a picture of a ")
VIEWS = ("front", "side", "back", "overhead")
WORDS = sorted(
    {word for family, parts in PARTS.items() for name in (family, *parts) for word in name.split()}
    | {
        *NAMES,
        *FINISHES,
        *VIEWS,
        "gray",
        "grey",
        "a",
        "photo",
        "picture",
        "of",
        "with",
        "and",
        "made",
        "the",
        "view",
        ",",
    }
)
"""All words of captions."""


@dataclass(frozen=True)
class Span:
    """Character range of a part's name, and where the words about that part begin."""

    part: int
    """Row in PARTS of the family."""
    start: int
    end: int
    phrase: int


@dataclass(frozen=True)
class Caption:
    text: str
    spans: tuple[Span, ...]


def compose(
    family: str, items: Sequence[tuple[int, str]], *, articles: bool = False, opening: str = OPENINGS[0], view: str = ""
) -> Caption:
    """The object, "with", its parts, the view; items are rows of PARTS with the words before the name ("shiny red").

    Without articles it is the form of part prompts: parts joined by "and".
    """
    text, spans = opening + family, []
    for k, (part, words) in enumerate(items):
        last = k == len(items) - 1
        text += " with " if k == 0 else " and " if last or not articles else ", "
        text += "a " if articles else ""
        phrase, name = len(text), PARTS[family][part]
        text += f"{words} " if words else ""
        spans.append(Span(part, len(text), len(text) + len(name), phrase))
        text += name
    return Caption(f"{text}, {view} view" if view else text, tuple(spans))


def part_prompt(family: str) -> Caption:
    """Every part by its name alone, as where maps of parts are asked for."""
    return compose(family, [(i, "") for i in range(len(PARTS[family]))])


def words_of(paint: Paint, part: int, rng: np.random.Generator | None = None) -> str:
    """Finish and colour of a part; grey and matte are named half of the time, without `rng` never."""
    color, finish = paint.colors[part], paint.finishes[part]
    named = rng is not None and rng.random() < 0.5
    words = [] if finish == 0 and (rng is None or rng.random() < 0.9) else [FINISHES[finish]]
    words += (
        [NAMES[color]]
        if color < GREY
        else ["grey" if rng is not None and rng.random() < 0.5 else "gray"]
        if named
        else []
    )
    return " ".join(words)


def random_caption(family: str, paint: Paint, place: tuple[float, float], rng: np.random.Generator) -> Caption:
    """Empty in 10 %; else all parts with their looks, some parts, all names alone, or a mixture, in any order.

    `place`: azimuth and elevation of the camera in degrees.
    """
    kind, count = rng.random(), len(PARTS[family])
    if kind < 0.1:
        return Caption("", ())
    order = [int(i) for i in (rng.permutation(count) if rng.random() < 0.7 else range(count))]
    opening = OPENINGS[int(rng.choice(3, p=[0.7, 0.15, 0.15]))]
    view = view_word(*place) if rng.random() < 0.2 else ""
    if kind < 0.6:
        order = order if kind < 0.45 else order[: int(rng.integers(1, count + 1))]
        return compose(family, [(i, words_of(paint, i, rng)) for i in order], articles=True, opening=opening, view=view)
    named = [kind >= 0.8 and rng.random() < 0.5 for _ in order]
    items = [(i, words_of(paint, i, rng) if with_words else "") for i, with_words in zip(order, named, strict=True)]
    return compose(family, items, opening=opening, view=view)
