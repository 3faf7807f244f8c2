"""Atomic writes: a file or folder is complete or absent, also after a crash or on a full disk."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = re.compile(r"\..*\.(\d+)-[0-9a-f]{8}(\..*)?")
_UMASK = os.umask(0o022)
os.umask(_UMASK)  # it can only be read by setting it
ORPHAN_SECONDS = 3600
"""A temporary file that is older is a left-over, even where some process has the number of its writer again."""


def temporary_sibling(path: Path) -> Path:
    """A hidden temporary name in the same folder; keeps the suffix, as many writers choose the format by it."""
    return path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")


def _readable(path: Path) -> None:
    """Gives a file that its writer made for the owner alone, as safetensors does, the mode that files have here."""
    if stat.S_IMODE(path.stat().st_mode) == 0o600:
        path.chmod(0o666 & ~_UMASK)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def error_with_path(error: OSError, path: Path) -> OSError:
    """The error with the file's path in place of a temporary one; a full disk is said in plain words."""
    # numpy's tofile and ffmpeg's pipe do not pass on the errno, so a full disk is found by looking at the disk
    silent = error.errno in (None, errno.EPIPE, errno.EIO)
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or (silent and shutil.disk_usage(path.parent).free < 1 << 16):
        text = "no space left on the disk; nothing was written; free some, or write elsewhere"
        return OSError(errno.ENOSPC, text, str(path))
    if error.filename and not any(_TEMPORARY.fullmatch(part) for part in Path(str(error.filename)).parts):
        return error
    return OSError(error.errno or errno.EIO, str(error.strerror or error), str(path))


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path in the same folder; it replaces `path` when the block succeeds and is deleted otherwise.

    Makes the folder when it is missing.

    Raises:
        OSError: the disk is full (names the file), or whatever the block raises.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(path)
    try:
        yield temporary
        _readable(temporary)
        # the content must be on disk before the name, and the name (the folder's entry) before we report success
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    except OSError as error:
        raise error_with_path(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Like `atomic_path` for a folder without subfolders; an older folder at `path` is moved away just before."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = temporary_sibling(path), temporary_sibling(path)
    try:
        temporary.mkdir()
        yield temporary
        for file in temporary.iterdir():
            _readable(file)
            _flush(file)
        _flush(temporary)
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
        _flush(path.parent)
    except OSError as error:
        raise error_with_path(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def remove_leftovers(folder: str | Path, *, deep: bool = True, of: str = "") -> None:
    """Removes the temporary files and folders of processes that were killed, also from subfolders if `deep`.

    `of` = those of a file with this stem alone.

    Those of a process that still runs here are kept, except for our own: call this before the first write.
    """
    folder = Path(folder)
    for parent, folders, files in os.walk(folder):
        for name in [name for name in (*folders, *files) if _is_leftover(Path(parent, name))]:
            if of and not name.startswith(f".{of}."):
                continue
            path = Path(parent, name)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
                folders.remove(name)
            else:
                path.unlink(missing_ok=True)
        if not deep:
            return


def _is_leftover(path: Path) -> bool:
    matched = _TEMPORARY.fullmatch(path.name)
    if matched is None:
        return False
    writer = int(matched[1])
    try:
        return writer == os.getpid() or not _runs(writer) or time.time() - path.lstat().st_mtime > ORPHAN_SECONDS
    except FileNotFoundError:  # its writer has just finished
        return False


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
