"""What the program settles before torch is loaded: how its idle threads wait, and who keeps freed memory."""

from __future__ import annotations

import ctypes
import os

MALLOC_TRIM_THRESHOLD, MALLOC_MMAP_MAX = -1, -4
"""Names of settings of glibc's mallopt(3)."""
MOST = 2**31 - 1


def settle() -> None:
    """Makes training loops faster; changes no result.

    Idle OpenMP threads spin for milliseconds after each torch operation, on cores that our own pool's threads want:
    they sleep instead, unless OMP_WAIT_POLICY says otherwise. Freed memory stays with the process: a step asks for the
    same large tensors as the step before, and fresh pages cost more than the work done on them. Where fresh ones are
    due all the same, they are huge ones.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read by torch
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:  # glibc
        set_option(MALLOC_MMAP_MAX, 0)
        set_option(MALLOC_TRIM_THRESHOLD, MOST)
