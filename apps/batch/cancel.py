"""`gs-reg batch cancel`: jobs that wait do not begin, those that run save and end; from any machine on the disk."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..runs.progress import plural, say
from .batch import Batch
from .lease import acquire
from .lockfile import Job, read_lock
from .states import ask_to_end, note_event, read_status, write_status


@dataclass(frozen=True)
class Config:
    batch: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BATCH")]
    """Folder of a batch."""
    only: tuple[str, ...] = ()
    """Names of jobs; default all that are not over."""


def main(config: Config) -> int:
    batch = Batch(config.batch, read_lock(config.batch))
    jobs = batch.named(config.only) if config.only else batch.lock.jobs
    asked = [_cancel(batch, job) for job in jobs if batch.status(job).state in ("pending", "running")]
    if not asked:
        say("nothing to cancel: no job waits or runs")
        return 0
    ended = len(asked) - sum(asked)
    say(f"cancelled {plural(ended, 'job')}; asked {plural(sum(asked), 'running job')} to save and end")
    say(f"`gs-reg batch retry {config.batch}` lets them go on")
    return 0


def _cancel(batch: Batch, job: Job) -> bool:
    """Whether the job runs, and was asked to end."""
    folder = batch.folder(job)
    folder.mkdir(parents=True, exist_ok=True)
    lease = acquire(folder)
    if lease is None:
        ask_to_end(folder, "cancel")
        return True
    try:
        status = read_status(folder)
        if status.state in ("pending", "running"):
            write_status(folder, dataclasses.replace(status, state="cancelled"))
            note_event(folder, "cancelled")
    finally:
        lease.release()
    return False
