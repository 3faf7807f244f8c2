"""What a job file says, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Resources:
    """What a job needs."""

    gpus: int | None = None
    """GPUs; default one where there is any and the kind uses it."""
    memory_gb: float = 2.0
    """Main memory."""
    threads: int | None = None
    """Threads of computing; default OMP_NUM_THREADS, else the machine's cores shared out to the workers."""
    minutes: float | None = None
    """After so long it is stopped, saved, and goes on as its next attempt."""


@dataclass(frozen=True)
class Retry:
    """How often a job is tried again, by what went wrong; bad input and missing parts never are."""

    memory: int = 1
    """Out of memory: with half the views or half the size, marked `degraded`."""
    lost: int = 2
    """Killed, crashed, its machine or GPU lost, or its time over: from the last checkpoint."""
    unknown: int = 1
    """Anything else."""


@dataclass(frozen=True)
class Spec:
    """A job as the file has it, matrices expanded."""

    name: str
    kind: str
    settings: dict[str, Any]
    """Nested as in config.yaml, paths absolute; {jobs.NAME.out} stands for the output of another job."""
    needs: tuple[str, ...]
    """Names of jobs that must be done before."""
    resources: Resources
    retry: Retry
    place: str
    """File, line and key, for complaints."""
