"""Files that people save from a page: by name alone, into one folder, never over what is there."""

from __future__ import annotations

import itertools
from pathlib import Path

from gs_reg.errors import InputError


def target(folder: Path, name: str, suffixes: tuple[str, ...]) -> Path:
    """Where to write: `name` in the folder, which is made, or else name-2, name-3 ...

    Raises:
        InputError: a name with a folder in it, hidden, or with another ending.
    """
    check(name, suffixes)
    folder.mkdir(parents=True, exist_ok=True)
    stem, ending = name.split(".", 1)
    numbered = (folder / f"{stem}-{number}.{ending}" for number in itertools.count(2))
    return next(path for path in itertools.chain([folder / name], numbered) if not path.exists())


def check(name: str, suffixes: tuple[str, ...]) -> None:
    """Raises InputError: as target()."""
    if Path(name).name != name or name.startswith(".") or "\\" in name or not name.lower().endswith(suffixes):
        raise InputError(f"{name or 'no name'}: expected a plain file name ending with {', '.join(suffixes)}")
