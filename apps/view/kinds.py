"""What a folder is a run of, as each kind has a page of its own."""

from __future__ import annotations

from pathlib import Path

from gs_reg.errors import InputError
from gs_reg.io.avatar import HEADER
from gs_reg.parts.store import LABELS_FILE

from ..avatar.files import FOLDER
from ..runs.folder import open_run


def is_avatar(source: Path) -> bool:
    """Whether it is the folder of an avatar's files, or of a run that made them."""
    run = _run(source)
    return (source / HEADER).is_file() or (run is not None and (run / FOLDER / HEADER).is_file())


def is_edit(source: Path) -> bool:
    """Whether it is the folder of an `edit parts` or `edit run` that has found the parts."""
    run = _run(source)
    return run is not None and (run / LABELS_FILE).is_file() and (run / "parts.json").is_file()


def _run(source: Path) -> Path | None:
    try:
        return open_run(source).path if source.is_dir() else None
    except InputError:
        return None
