"""`gs-reg batch retry`: jobs that have failed or were cancelled begin again, from their last checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..runs.progress import say
from .batch import Batch, reset
from .lockfile import read_lock
from .options import start, stored_options


@dataclass(frozen=True)
class Config:
    batch: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BATCH")]
    """Folder of a batch."""
    only: tuple[str, ...] = ()
    """Names of jobs; default all that have failed or were cancelled."""
    fresh: bool = False
    """Throw away what they have made so far."""
    json: bool = False
    """Print the state of every job on stdout."""


def main(config: Config) -> int:
    batch = Batch(config.batch, read_lock(config.batch))
    named = batch.named(config.only) if config.only else batch.lock.jobs
    again = [job for job in named if batch.status(job).state in ("failed", "cancelled")]
    if not again:
        say("no job has failed or was cancelled")
        return 0
    reset(batch, again, config.fresh)
    return start(batch, batch.lock.jobs, stored_options(config.batch), config.json)
