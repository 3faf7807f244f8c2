"""Tables of figures, in which rows of the small teacher never stand beside published ones."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from gs_reg.diffusion.loading import folder_of
from gs_reg.diffusion.settings import FILE
from gs_reg.errors import InputError, reading
from gs_reg.io.atomic import atomic_path

Source = Literal["published", "measured", "stand-in"]
"""Of a row: quoted from a paper; measured here with published weights, or without any; measured with a small teacher
that gs-reg trained itself, which stands in for such weights."""
TRAINED_HERE = "data_version"
"""The key in a teacher's settings that only `gs-reg teacher train` writes."""


def row_source(model: str | None) -> Source:
    """Of figures that were measured with the pipeline of --model."""
    if model is None:
        return "measured"
    path = folder_of(model) / FILE
    if not path.is_file():
        return "measured"
    with reading(path):
        return "stand-in" if TRAINED_HERE in json.loads(path.read_text(encoding="utf-8")) else "measured"


def check_not_mixed(rows: Sequence[Mapping[str, Any]]) -> None:
    """Raises InputError where rows of a stand-in and published ones are in one table, or a row says not what it is."""
    known = get_args(Source)
    for number, row in enumerate(rows):
        if row.get("source") not in known:
            raise InputError(f"table: row {number + 1}: source is {row.get('source')!r}: expected {', '.join(known)}")
    sources = [row["source"] for row in rows]
    if "published" in sources and "stand-in" in sources:
        places = [f"row {sources.index(source) + 1} is {source}" for source in ("published", "stand-in")]
        raise InputError(
            f"table: {' and '.join(places)}: figures with a small teacher are not comparable with published ones; "
            "write two tables"
        )


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A CSV file; columns in the order in which rows first have them.

    Raises:
        InputError: as check_not_mixed().
    """
    check_not_mixed(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
