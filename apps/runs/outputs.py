"""Files that a command writes at the end of long work."""

from __future__ import annotations

from pathlib import Path

from gs_reg.errors import InputError
from gs_reg.io.atomic import temporary_sibling


def check_writable(path: Path) -> None:
    """Makes the folder of a file that is written later.

    Raises:
        InputError: no file can be written there.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder: expected the name of a file to write")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = temporary_sibling(path)
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = f"{path.parent} is no folder" if isinstance(error, FileExistsError) else error.strerror
        raise InputError(f"{path}: cannot be written ({reason}): name another place with --out") from error
