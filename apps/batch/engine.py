"""The loop of a batch: begins what can begin, sees what has ended, tries again what may be, until nothing is left."""

from __future__ import annotations

import dataclasses
import errno
import heapq
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..runs.progress import say
from ..runs.training import StopSignal
from .batch import Batch
from .executors import Executor
from .lease import Watch, acquire
from .lockfile import Job
from .reactions import attempts_left, wait_before
from .states import Status, ask_to_end, note_event, write_status

TICK_SECONDS = 0.02
LOOK_SECONDS = 2.0
"""Between two looks at jobs that other engines run."""
LEAST_FREE = 200e6
"""Bytes on the disk below which no job is begun."""
DISK_FULL = "no space left on the disk: free some, then continue; all that is done is kept"


@dataclass
class Engine:
    batch: Batch
    executor: Executor
    chosen: Sequence[Job]
    show: Callable[[Engine], None] = lambda engine: None
    """Called a few times a second."""
    states: dict[str, Status] = field(default_factory=dict)
    handles: dict[str, Any] = field(default_factory=dict)
    """Of jobs that this engine has begun."""
    elsewhere: dict[str, Watch] = field(default_factory=dict)
    """Jobs that another process runs."""
    waiting: list[tuple[float, str]] = field(default_factory=list)
    """Jobs that are tried again, and when."""
    stopped: str = ""
    """Why no more jobs are begun."""

    def run(self) -> Sequence[Status]:
        """Works until every chosen job is done, or cannot be; returns how they stand.

        Raises:
            Interrupted: a second signal; the first lets jobs save.
        """
        self._begin()
        asked = looked = 0.0
        with StopSignal() as stop:
            try:
                while True:
                    now = time.monotonic()
                    if stop.requested is not None and not self.stopped:
                        self.stopped = "interrupted"
                        say(f"letting {len(self.handles)} jobs save; once more ends them at once")
                    if self.stopped and now - asked > 1:
                        asked = now
                        self._ask_to_end()
                    self._collect()
                    if now - looked > LOOK_SECONDS:
                        looked = now
                        self._look_elsewhere()
                    if not self.stopped:
                        self._submit(now)
                    self.show(self)
                    if self._is_over():
                        break
                    time.sleep(TICK_SECONDS)
            except BaseException:
                self._end_all()
                raise
        self.signal = stop.requested
        return [self.states[job.id] for job in self.chosen]

    signal: int | None = None
    """Number of the signal that stopped it."""

    def _begin(self) -> None:
        """Reads how far every job is."""
        self.jobs = self.batch.by_id
        self.outs = {job.id: job.out for job in self.jobs.values()}
        self.ids = {job.id for job in self.chosen}
        self.after: dict[str, list[str]] = {}
        self.missing: dict[str, int] = {}
        self.ready: list[str] = []
        for job in self.jobs.values():
            self.states[job.id] = self._as_found(job)
            for need in job.needs:
                self.after.setdefault(need, []).append(job.id)
        for job in self.jobs.values():
            self.missing[job.id] = sum(self.states[need].state != "done" for need in job.needs)
        for job in self.chosen:
            state = self.states[job.id].state
            if state == "running":
                self.elsewhere[job.id] = Watch(self.batch.folder(job))
            elif state == "pending" and not self.missing[job.id]:
                self.ready.append(job.id)

    def _as_found(self, job: Job) -> Status:
        """The status of a job; of one that a killed engine left or that was stale, as it goes on."""
        status = self.batch.status(job)
        if status.state not in ("running", "stale"):
            return status
        lease = acquire(self.batch.folder(job))
        if lease is None:
            return status
        try:
            status = self.batch.status(job)  # what held it until now has perhaps ended it
            if status.state in ("running", "stale"):
                finished = status.state == "stale" and status.progress == 1.0
                status = dataclasses.replace(status, state="done" if finished else "pending")
                write_status(self.batch.folder(job), status)
        finally:
            lease.release()
        return status

    def _submit(self, now: float) -> None:
        while self.waiting and self.waiting[0][0] <= now:
            self.ready.append(heapq.heappop(self.waiting)[1])
        later, looked_at = [], 0
        for job_id in self.ready:
            job = self.jobs[job_id]
            gpus = self.batch.gpus(job, self.executor)
            if len(self.handles) >= self.executor.workers:
                break
            if shutil.disk_usage(self.batch.path).free < LEAST_FREE:
                self.stopped = DISK_FULL
                break
            looked_at += 1
            if not self.executor.capacity(job.resources, gpus):
                later.append(job_id)
                continue
            task = self.batch.task(job, self.states[job_id], self.executor, self.outs)
            self.handles[job_id] = self.executor.submit(task, job.resources, gpus)
            self.states[job_id] = dataclasses.replace(self.states[job_id], state="running", started=time.time())
        self.ready = later + self.ready[looked_at:] if looked_at else self.ready

    def _collect(self) -> None:
        for job_id in list(self.handles):
            try:
                ended = self.executor.poll(self.handles[job_id])
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                self.stopped, ended = DISK_FULL, True
            if ended:
                del self.handles[job_id]
                self._ended(job_id)

    def _ended(self, job_id: str) -> None:
        """Decides what follows from how a job stands."""
        job = self.jobs[job_id]
        status = self.states[job_id] = self.batch.status(job)
        if status.state == "running":  # its worker is gone, or another engine took it
            watch = self.elsewhere.setdefault(job_id, Watch(self.batch.folder(job)))
            if not watch.silent():
                return
            status = self.states[job_id] = self._lost(job, status, watch)
        self.elsewhere.pop(job_id, None)
        if status.state == "running":
            self.elsewhere[job_id] = Watch(self.batch.folder(job))
        elif status.state == "pending" and not self.stopped:
            if acquire_free(self.batch, job):
                self.ready.append(job_id)
            else:
                self.elsewhere[job_id] = Watch(self.batch.folder(job))
        elif status.state == "done":
            for after in self.after.get(job_id, ()):
                self.missing[after] -= 1
                if not self.missing[after] and after in self.ids and self.states[after].state == "pending":
                    self.ready.append(after)
        elif status.state == "failed":
            self._failed(job, status)

    def _failed(self, job: Job, status: Status) -> None:
        if status.error == "disk full":
            self.stopped = DISK_FULL
            return
        if attempts_left(job.retry, status.failures) < 0:
            say(f"{job.name}: failed: {status.reason}")
            return
        seconds = wait_before(len(status.failures))
        say(f"{job.name}: {status.error}: {status.reason}; again in {seconds:.0f} s")
        self.states[job.id] = self._to_pending(job, status)
        heapq.heappush(self.waiting, (time.monotonic() + seconds, job.id))

    def _to_pending(self, job: Job, status: Status) -> Status:
        again = dataclasses.replace(status, state="pending")
        lease = acquire(self.batch.folder(job))
        if lease is not None:
            if self.batch.status(job) == status:  # else another engine has done it again already
                write_status(self.batch.folder(job), again)
            lease.release()
        return again

    def _lost(self, job: Job, status: Status, watch: Watch) -> Status:
        """Takes over a job whose process ended without a word."""
        folder = self.batch.folder(job)
        lease = acquire(folder, watch)
        if lease is None:
            return status
        try:
            status = self.batch.status(job)
            if status.state == "running":
                reason = f"its process on {status.host} ended without a word"
                failures = (*status.failures, "lost")
                status = dataclasses.replace(status, state="failed", error="lost", reason=reason, failures=failures)
                write_status(folder, status)
                note_event(folder, "lost", attempt=status.attempt, host=status.host)
        finally:
            lease.release()
        return status

    def _look_elsewhere(self) -> None:
        for job_id in list(self.elsewhere):
            if job_id not in self.handles:
                status = self.batch.status(self.jobs[job_id])
                if status.state != "running" or self.elsewhere[job_id].silent():
                    self._ended(job_id)

    def _ask_to_end(self) -> None:
        """Lets jobs save; those that have not begun yet do not begin."""
        for job_id, handle in self.handles.items():
            job = self.jobs[job_id]
            if self.batch.status(job).state == "running":
                ask_to_end(self.batch.folder(job), "stop")
            else:
                self.executor.cancel(handle)

    def _end_all(self) -> None:
        """Ends all jobs at once, and waits until their processes are gone."""
        for handle in self.handles.values():
            self.executor.cancel(handle)
        until = time.monotonic() + 20
        while self.handles and time.monotonic() < until:
            for job_id in list(self.handles):
                if self._has_ended(job_id):
                    del self.handles[job_id]
            time.sleep(TICK_SECONDS)

    def _has_ended(self, job_id: str) -> bool:
        try:
            return self.executor.poll(self.handles[job_id])
        except OSError:
            return True

    def _is_over(self) -> bool:
        if self.handles:
            return False
        return bool(self.stopped) or not (self.ready or self.waiting or self.elsewhere)

    def blocked_by(self, job: Job) -> Job | None:
        """A job that this one waits for in vain."""
        for need in job.needs:
            if self.states[need].state in ("failed", "cancelled"):
                return self.jobs[need]
            if self.states[need].state == "pending" and (found := self.blocked_by(self.jobs[need])):
                return found
        return None


def acquire_free(batch: Batch, job: Job) -> bool:
    """Whether nobody holds the job."""
    return Watch(batch.folder(job)).silent()


def with_needs(batch: Batch, jobs: Iterable[Job]) -> list[Job]:
    """The jobs and all that they need, in the order of the batch."""
    by_id, wanted = batch.by_id, set()
    stack = list(jobs)
    while stack:
        job = stack.pop()
        if job.id not in wanted:
            wanted.add(job.id)
            stack += [by_id[need] for need in job.needs]
    return [job for job in batch.lock.jobs if job.id in wanted]
