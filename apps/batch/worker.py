"""Runs one job in a process of its own, whatever engine called: takes its lease, renews it, writes how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gs_reg.io.atomic import atomic_path, remove_leftovers

from ..runs.interrupts import PARENT
from .lease import RENEW_SECONDS, Lease, acquire
from .reactions import SIGNALS, class_of, reason_of
from .states import LOG, STOP, Status, note_event, read_status, write_status

LOOK_SECONDS = 1.0
"""Between two looks at whether the job shall stop, and how far it is."""
GRACE_SECONDS = 120.0
"""That a job may take to save after it was asked to end."""
TAIL = 6000
"""Bytes at the end of a log in which the error is looked for."""


RUNNING: dict[str, _Attempt] = {}
"""Jobs that this process runs, by folder."""


@dataclass(frozen=True)
class Task:
    """A job as it goes to where it is run."""

    folder: str
    out: str
    fresh: tuple[str, ...]
    """The command, where there is no run yet."""
    again: tuple[str, ...]
    """The command that continues."""
    config: str = ""
    """Text of job.yaml."""
    threads: int = 1
    gpus: str | None = None
    """CUDA_VISIBLE_DEVICES; None = as it is."""
    minutes: float | None = None
    degraded: bool = False
    """Begin anew with what needs less memory."""


def work(task: Task) -> None:
    """Does the job, unless it is done or another process does it."""
    folder = Path(task.folder)
    folder.mkdir(parents=True, exist_ok=True)
    lease = acquire(folder)
    if lease is None:
        return
    try:
        status = read_status(folder)
        if status.state in ("pending", "running"):  # not done meanwhile by another engine, nor cancelled
            _Attempt(task, folder, lease, status).run()
    finally:
        lease.release()


def interrupt_here(folder: str) -> None:
    """Ends a job that this process runs, saved, so that it can go on elsewhere; for a handler of a signal."""
    attempt = RUNNING.pop(folder, None)
    if attempt is not None:
        attempt.interrupt()


class _Attempt:
    def __init__(self, task: Task, folder: Path, lease: Lease, before: Status):
        self.task, self.folder, self.lease, self.before = task, folder, lease, before
        self.out, self.log = Path(task.out), folder / LOG
        self.began = time.monotonic()
        device = "cpu" if not task.gpus else f"gpu {task.gpus}"
        self.status = replace(
            before,
            state="running",
            attempt=before.attempt + 1,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=device,
            started=time.time(),
            heartbeat=time.time(),
            stage="",
            progress=None,
            degraded=before.degraded or task.degraded,
        )
        self.asked: str | None = None
        """Why it was told to end."""
        self.child: subprocess.Popen | None = None

    def run(self) -> None:
        (self.folder / STOP).unlink(missing_ok=True)
        remove_leftovers(self.folder, deep=False)
        if self.task.degraded and not self.before.degraded:
            shutil.rmtree(self.out, ignore_errors=True)
        resumes = (self.out / "config.yaml").is_file()
        if self.task.config and not resumes:
            with atomic_path(self.folder / "job.yaml") as temporary:
                temporary.write_text(self.task.config, encoding="utf-8")
        words = self.task.again if resumes else self.task.fresh
        write_status(self.folder, self.status)
        note_event(self.folder, "started", attempt=self.status.attempt, host=self.status.host, pid=self.status.pid)
        with self.log.open("ab") as log:
            self.written = log.tell()
            self.child = child = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                start_new_session=True,  # a Ctrl-C is passed on, not shared
            )
            RUNNING[self.task.folder] = self
            self.lease.names(child.pid)
            ended = self._wait(child)
        RUNNING.pop(self.task.folder, None)
        if ended is not None:
            self._record(*ended)

    def interrupt(self) -> None:
        """Lets the child save and end, while `run` waits for nothing more."""
        self.asked = "stop"
        if self.child is not None:
            self.child.terminate()
            self._record(self.child.wait(), 0.0)
        self.lease.release()

    def _environment(self) -> dict[str, str]:
        threads = str(self.task.threads)
        more = {name: threads for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        if self.task.gpus is not None:
            more["CUDA_VISIBLE_DEVICES"] = self.task.gpus
        return os.environ | more | {PARENT: str(os.getpid())}

    def _wait(self, child: subprocess.Popen) -> tuple[int, float] | None:
        """Exit code and peak memory in GB; None where the lease was lost, and the child ended for it."""
        try:
            return self._watch(child)
        except BaseException:
            child.terminate()
            child.wait()
            raise

    def _watch(self, child: subprocess.Popen) -> tuple[int, float] | None:
        looked = renewed = time.monotonic()
        killed_at = 0.0
        while True:
            pid, state, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                child.returncode = os.waitstatus_to_exitcode(state)
                unit = 1 if sys.platform == "darwin" else 1024
                return child.returncode, unit * usage.ru_maxrss / 1e9
            _sleep_until_end(child.pid, LOOK_SECONDS)
            now = time.monotonic()
            if now - looked < LOOK_SECONDS:
                continue
            looked = now
            if now - renewed >= RENEW_SECONDS:
                renewed = now
                if not self.lease.renew():
                    child.kill()
                    child.wait()
                    return None
                self._beat()
            word = self._told()
            if word and word != self.asked:
                child.send_signal(signal.SIGKILL if word == "kill" else signal.SIGTERM)
                self.asked, killed_at = word, now + GRACE_SECONDS
            elif killed_at and now > killed_at:
                child.kill()

    def _told(self) -> str | None:
        """Whether the job shall end, and why."""
        with contextlib.suppress(OSError):
            return (self.folder / STOP).read_text(encoding="utf-8").strip() or None
        if self.task.minutes is not None and time.monotonic() - self.began > 60 * self.task.minutes:
            return "time"
        return self.asked

    def _beat(self) -> None:
        """Writes the heartbeat, and what the run says of itself."""
        stage, share = progress_of(self.out)
        self.status = replace(self.status, heartbeat=time.time(), stage=stage, progress=share)
        write_status(self.folder, self.status)

    def _record(self, code: int, peak_gb: float) -> None:
        seconds = self.before.seconds + time.monotonic() - self.began
        ended = replace(
            self.status,
            heartbeat=time.time(),
            peak_gb=round(max(peak_gb, self.before.peak_gb), 3),
            seconds=round(seconds, 2),
        )
        if not self.lease.renew():
            return  # another has taken over
        if code == 0:
            ended = replace(ended, state="done", progress=1.0, stage="", error="", reason="", lines=())
        elif self.asked == "cancel":
            ended = replace(ended, state="cancelled")
        elif self.asked in ("stop", "kill") and (code in SIGNALS or code == -signal.SIGKILL):
            ended = replace(ended, state="pending")
        else:
            ended = self._failed(ended, code)
        write_status(self.folder, ended)
        note_event(self.folder, ended.state, attempt=ended.attempt, code=code, error=ended.error)

    def _failed(self, ended: Status, code: int) -> Status:
        text = self._said()
        kind = "time" if self.asked == "time" else class_of(code, text)
        reason = f"not done within {self.task.minutes:g} minutes" if kind == "time" else reason_of(text, code)
        lines = tuple(line[:300] for line in text.splitlines()[-8:])
        failures = (*ended.failures, kind)
        return replace(ended, state="failed", error=kind, reason=reason, lines=lines, failures=failures)

    def _said(self) -> str:
        """The end of what this attempt wrote to the log."""
        with self.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self.written, size - TAIL))
            return log.read().decode("utf-8", errors="replace")


def _sleep_until_end(pid: int, seconds: float) -> None:
    """Waits until a child ends, so many seconds at most."""
    if not hasattr(os, "pidfd_open"):
        time.sleep(min(seconds, 0.02))
        return
    handle = os.pidfd_open(pid)
    try:
        select.select([handle], [], [], seconds)
    finally:
        os.close(handle)


def progress_of(out: Path) -> tuple[str, float | None]:
    """Stage and share done of a run, as its own status.json says."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, ZeroDivisionError, AttributeError):
        said: dict[str, Any] = json.loads((out / "status.json").read_text(encoding="utf-8"))
        if isinstance(said.get("share"), int | float):
            return str(said.get("stage", "")), float(said["share"])
        return "training", said["step"] / said["steps"]
    return "", None
