"""`gs-reg batch resume`: a batch goes on as it was begun, after an interrupt, a crash or a full disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from gs_reg.io.atomic import remove_leftovers

from .batch import Batch, reset
from .executors import Name
from .lockfile import read_lock
from .options import start, stored_options


@dataclass(frozen=True)
class Config:
    batch: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BATCH")]
    """Folder of a batch."""
    executor: Name | None = None
    """Where jobs run; default as before."""
    workers: int | None = None
    """Most jobs at a time; default as before."""
    address: str | None = None
    """Of a Ray cluster; default as before."""
    json: bool = False
    """Print the state of every job on stdout."""


def main(config: Config) -> int:
    batch, options = Batch(config.batch, read_lock(config.batch)), stored_options(config.batch)
    if config.executor is not None:
        options = replace(options, executor=config.executor, address=None)
    if config.workers is not None:
        options = replace(options, workers=config.workers)
    if config.address is not None:
        options = replace(options, address=config.address)
    remove_leftovers(config.batch, deep=False)
    full = [job for job in batch.lock.jobs if (s := batch.status(job)).state == "failed" and s.error == "disk full"]
    reset(batch, full)
    return start(batch, batch.lock.jobs, options, config.json)
