"""A batch at work: its folder, its jobs, and how each stands."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gs_reg.errors import InputError

from .executors import Executor
from .kinds import KINDS
from .lease import acquire
from .lockfile import Job, Lock, resolved
from .states import Status, note_event, read_status, write_status
from .worker import Task


@dataclass(frozen=True)
class Batch:
    path: Path
    lock: Lock

    @property
    def by_id(self) -> Mapping[str, Job]:
        return {job.id: job for job in self.lock.jobs}

    def folder(self, job: Job) -> Path:
        return job.folder(self.path)

    def status(self, job: Job) -> Status:
        return read_status(self.folder(job))

    def task(self, job: Job, status: Status, executor: Executor, outs: Mapping[str, str]) -> Task:
        """What is sent to where the job runs."""
        kind, folder, out = KINDS[job.kind], self.folder(job).absolute(), (self.path / job.out).absolute()
        degraded = status.degraded or (status.failures[-1:] == ("memory",) and kind.smaller is not None)
        settings = kind.smaller(job.settings) if degraded and kind.smaller else job.settings
        words = kind.words(resolved(settings, self.path.absolute(), outs), folder, out)
        return Task(
            str(folder),
            str(out),
            words.fresh,
            words.again,
            words.config,
            threads=job.resources.threads or executor.threads,
            minutes=job.resources.minutes,
            degraded=degraded,
        )

    def gpus(self, job: Job, executor: Executor) -> int:
        """That a job is given."""
        if job.resources.gpus is not None:
            return job.resources.gpus
        on_cpu = job.settings.get("device") == "cpu"
        return 1 if executor.gpus and KINDS[job.kind].gpu and not on_cpu else 0

    def named(self, names: Sequence[str], flag: str = "--only") -> tuple[Job, ...]:
        """Jobs by name or id; a name with a dash behind it names all that begin so.

        Raises:
            InputError: there is none.
        """
        chosen: dict[str, Job] = {}
        for name in names:
            found = [job for job in self.lock.jobs if name in (job.id, job.name) or job.name.startswith(f"{name}-")]
            if not found:
                some = ", ".join(job.name for job in self.lock.jobs[:8])
                raise InputError(f"{flag} {name}: no job of {self.path} has that name; it has {some}")
            chosen |= {job.id: job for job in found}
        return tuple(chosen.values())


def reset(batch: Batch, jobs: Sequence[Job], fresh: bool = False, again: bool = False) -> None:
    """Lets jobs begin again as if nothing had failed; `fresh` = without what they have made; `again` = done ones too.

    Those that another process runs are left alone.
    """
    for job in jobs:
        folder = batch.folder(job)
        if not folder.is_dir():
            continue
        lease = acquire(folder)
        if lease is None:
            continue
        try:
            before = read_status(folder)
            if fresh:
                shutil.rmtree(batch.path / job.out, ignore_errors=True)
                write_status(folder, Status(attempt=before.attempt))
                note_event(folder, "reset")
            elif again or before.state != "done":
                write_status(folder, dataclasses.replace(before, state="pending", failures=()))
        finally:
            lease.release()


def mark_stale(batch: Batch) -> None:
    """Writes into the folders of jobs that are no part of the batch any more that they are old."""
    for job_id in batch.lock.stale:
        folder = batch.path / "jobs" / job_id
        if not folder.is_dir() or read_status(folder).state == "stale":
            continue
        lease = acquire(folder)
        if lease is not None:
            write_status(folder, dataclasses.replace(read_status(folder), state="stale"))
            lease.release()
