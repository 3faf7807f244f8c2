"""Files and folders that are either complete or absent, also after a crash or on a full disk."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _sibling(path: Path) -> Path:
    """A hidden name beside `path`; keeps the suffix, as many writers choose the format by it."""
    return path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def explained(error: OSError, path: Path) -> OSError:
    """The error with the name of the file; a full disk in plain words."""
    # numpy's tofile and ffmpeg's pipe do not pass on why they failed.
    silent = error.errno in (None, errno.EPIPE, errno.EIO)
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or (silent and shutil.disk_usage(path.parent).free < 1 << 16):
        text = "no space left on the disk; nothing was written; free some, or write elsewhere"
        return OSError(errno.ENOSPC, text, str(path))
    return error if error.filename else OSError(error.errno or errno.EIO, str(error.strerror or error), str(path))


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path in the same folder, put in the place of `path` when the block ends well and deleted otherwise.

    Makes the folder when it is missing.

    Raises:
        OSError: the disk is full (names the file), or whatever the block raises.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _sibling(path)
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    except OSError as error:
        raise explained(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Like `atomic_path` for a flat folder: all its files are flushed, then it replaces `path` in one rename."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = _sibling(path), _sibling(path)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.iterdir():
            _flush(file)
        _flush(temporary)
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
        _flush(path.parent)
    except OSError as error:
        raise explained(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
