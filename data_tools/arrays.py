"""Arrays in .npy and .npz files that others wrote: whatever is wrong with the file is one line with its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy import ndarray

from gs_reg.errors import InputError

LARGEST = 1 << 28
"""Bytes of one array in an archive: more than any table of cameras has, less than a forged header asks for."""


def read_array(path: Path) -> ndarray:
    """The array of a .npy file; nothing is allocated before the file is known to be long enough.

    Raises:
        InputError: missing, broken, of objects, or an archive.
    """
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(values, ndarray):
            raise InputError(f"{path}: an archive of arrays: save one array with numpy.save")
        return np.array(values)
    except InputError:
        raise
    except Exception as error:  # numpy lets through what its header, tokenizer and zip reader raise
        raise _broken(path, error, "save it with numpy.save") from None


def read_arrays(path: Path, prefix: str = "") -> dict[str, ndarray]:
    """The arrays of a .npz archive whose names begin so.

    Raises:
        InputError: missing, broken, of objects, over-large, or no archive.
    """
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, ndarray):
            raise InputError(f"{path}: a single array: expected an archive (numpy.savez)")
        with loaded as archive:
            for member in archive.zip.infolist():
                if member.file_size > LARGEST:
                    raise InputError(f"{path}: {member.filename} has {member.file_size} bytes: expected small tables")
            arrays = {key: archive[key] for key in archive.files if key.startswith(prefix)}
        for key, value in arrays.items():
            if not isinstance(value, ndarray):  # numpy hands out the bytes of a member that does not begin as arrays do
                raise InputError(f"{path}: {key} is no array: save it with numpy.savez, or copy it again")
        return arrays
    except InputError:
        raise
    except Exception as error:  # as above, and zlib.error
        raise _broken(path, error, "save it with numpy.savez") from None


def _broken(path: Path, error: Exception, remedy: str) -> InputError:
    reason = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
    return InputError(f"{path}: not an array that can be read ({reason}): {remedy}, or copy it again")
