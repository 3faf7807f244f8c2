"""From one entry of a job file to its jobs: a product of settings, and names in braces that stand for them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

BRACES = re.compile(r"\{([^{}]*)\}")
JOB_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
REFERENCE = re.compile(r"\{jobs\.([^{}]*)\.out\}")
MOST_JOBS = 100_000
"""Of a file: a product of more is taken for a mistake."""
WORD_LENGTH = 24
"""Of a value in the name of a job."""


def size(matrix: Mapping[str, Sequence[Any]]) -> int:
    return math.prod(len(values) for values in matrix.values())


def combinations(matrix: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """One value for each setting, in the order of the file."""
    for values in itertools.product(*matrix.values()):
        yield dict(zip(matrix, values, strict=True))


def name_of(base: str, chosen: Mapping[str, Any]) -> str:
    """The name of a job: that of its entry and what distinguishes it there."""
    return "-".join([base, *(_word(key, value) for key, value in chosen.items())])[:100]


def _word(key: str, value: Any) -> str:
    text = PurePath(value).stem if isinstance(value, str) and "/" in value else str(value)
    text = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")[:WORD_LENGTH].strip("_")
    return text if isinstance(value, str) and text else f"{key.rpartition('.')[2]}{text}"


def filled(value: Any, chosen: Mapping[str, Any], refuse: Callable[[str], Exception]) -> Any:
    """The value with {name} replaced in all its texts; {jobs.NAME.out} stays.

    Raises:
        what `refuse` makes of a complaint: a name that is none of the matrix.
    """
    if isinstance(value, dict):
        return {key: filled(inner, chosen, refuse) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, chosen, refuse) for inner in value]
    if not isinstance(value, str):
        return value
    named = {key.rpartition(".")[2]: one for key, one in chosen.items()} | dict(chosen)

    def replace(match: re.Match) -> str:
        word = match[1]
        if word in named:
            return str(named[word])
        if word.startswith("jobs."):
            return match[0]
        known = ", ".join(f"{{{name}}}" for name in named) or "no matrix here"
        raise refuse(f"{{{word:.80}}}: stands for nothing; there is {known}, and {{jobs.NAME.out}}")

    return BRACES.sub(replace, value)
