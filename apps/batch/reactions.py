"""What went wrong with a job, as one of a few classes, and what is done about it."""

from __future__ import annotations

import random
import re
from typing import Literal

from .specs import Retry

Class = Literal[
    "bad input", "missing part", "memory", "gpu", "killed", "lost", "time", "interrupted", "disk full", "unknown"
]
WAITS = (5.0, 20.0, 60.0)
"""Seconds before the attempts after the first, each up to a quarter longer."""
SIGNALS = {128 + number for number in (1, 2, 15)} | {-1, -2, -15}
"""Exit codes of a run that was asked to end."""
OF_TEXT: tuple[tuple[str, Class], ...] = (
    (r"no space left on the disk|No space left on device|Disk quota exceeded", "disk full"),
    (r"CUDA out of memory|OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED|not enough memory: you tried", "memory"),
    (r"illegal memory access|device-side assert|CUDA error|CUDNN_STATUS|unspecified launch failure", "gpu"),
)


def class_of(code: int, text: str) -> Class:
    """From the exit code of a command and the end of what it said."""
    for pattern, name in OF_TEXT:
        if re.search(pattern, text):
            return name
    if code in SIGNALS:
        return "interrupted"
    if code < 0 or code > 128:
        return "killed"
    return {2: "bad input", 3: "missing part"}.get(code, "unknown")  # pyright: ignore[reportReturnType]


def reason_of(text: str, code: int) -> str:
    """The error in one line: what the command said last."""
    lines = [line for line in text.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("gs-reg: ")] or lines[-1:]
    if code < 0:
        return f"ended by signal {-code}" + (" (as the system does where memory runs out)" if code == -9 else "")
    return said[-1].removeprefix("gs-reg: ")[:400] if said else f"exit code {code}"


def attempts_left(retry: Retry, failures: tuple[str, ...]) -> int:
    """How often a job may be tried again after its last failure."""
    last = failures[-1]
    if last == "memory":
        return retry.memory - failures.count("memory")
    if last in LOST:
        return retry.lost - sum(one in LOST for one in failures)
    return retry.unknown - failures.count("unknown") if last == "unknown" else -1


LOST = ("gpu", "killed", "lost", "time", "interrupted")


def wait_before(attempt: int) -> float:
    """Seconds to wait before an attempt, the second being 1."""
    return WAITS[min(attempt, len(WAITS)) - 1] * random.uniform(1.0, 1.25)
