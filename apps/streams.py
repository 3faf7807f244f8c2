"""Standard streams that are closed, full, or of an encoding without the letters of a name."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


def open_standard_streams() -> None:
    """Makes closed streams those of the null device, and lets what an encoding does not have be written as escapes.

    Else the next file that is opened would be number 1 or 2, and hold what libraries print.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(handle, True)
    os.close(handle)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 (open to the end)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def discard(stream: TextIO) -> None:
    """Lets the null device take what a stream holds and will get: Python flushes it once more at its end."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # no file, as under pytest
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)
