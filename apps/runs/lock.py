"""One process at a time works in a folder; the lock goes with the process, however that ends."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gs_reg.errors import InputError

NAME = ".lock"
PATIENCE = 2.0
"""Seconds for which a process that was just killed may take to end."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder, which must exist; the file is removed at the end.

    Raises:
        InputError: another process holds it; the text says which.
    """
    from filelock import FileLock, Timeout

    path = folder / NAME
    lock = FileLock(path, timeout=PATIENCE)
    try:
        lock.acquire(poll_interval=0.05)
    except Timeout:
        raise InputError(f"{folder}: in use by {_holder(path)}; wait for its end, or stop it") from None
    try:
        path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: filelock sees that a file it waited for is gone
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether some process holds the lock of a folder, and is not just ending."""
    from filelock import FileLock, Timeout

    if not (folder / NAME).is_file():
        return False
    lock = FileLock(folder / NAME, timeout=PATIENCE)
    try:
        with lock.acquire(poll_interval=0.05):
            return False
    except Timeout:
        return True


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or "another process"
    except OSError:
        return "another process"
