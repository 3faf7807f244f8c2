"""Jobs under Slurm, by submitit: each a job of Slurm that runs the command, queued again when it is preempted."""

from __future__ import annotations

import contextlib
import errno
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gs_reg.errors import MissingPart

from ..specs import Resources
from ..states import ask_to_end
from ..worker import Task, interrupt_here, work

POLL_SECONDS = 1.0
USUAL_MINUTES = 24 * 60
"""Of a job that does not say."""
SPARE_MINUTES = 5
"""Beyond the minutes of a job, in which it saves."""
MOST_QUEUED = 100
"""Jobs that are handed to Slurm at a time, where --workers does not say."""


@dataclass(frozen=True)
class SlurmTask:
    """What submitit runs; on a preemption it calls `checkpoint`."""

    task: Task

    def __call__(self) -> None:
        work(self.task)

    def checkpoint(self) -> Any:
        import submitit

        interrupt_here(self.task.folder)
        return submitit.helpers.DelayedSubmission(SlurmTask(self.task))


@dataclass
class Handle:
    job: Any
    task: Task
    looked: float = field(default_factory=time.monotonic)


class SlurmExecutor:
    def __init__(self, workers: int | None, address: str | None, folder: Path):
        try:
            import submitit
        except ImportError:
            raise MissingPart("--executor slurm: submitit is not installed: pip install 'gs-reg[slurm]'") from None
        if address is None and shutil.which("sbatch") is None:
            raise MissingPart("--executor slurm: no sbatch on this machine: run it where jobs are submitted")
        self._executor = submitit.AutoExecutor(str(folder / "slurm" / "%j"), cluster=address or "slurm")
        self._local = address == "local"
        self.workers, self.threads, self.gpus = workers or (1 if self._local else MOST_QUEUED), 1, 0
        self._held: list[Handle] = []

    def capacity(self, resources: Resources, gpus: int) -> bool:
        return len(self._held) < self.workers

    def refusal(self, resources: Resources, gpus: int) -> str | None:
        return None  # Slurm knows

    def submit(self, task: Task, resources: Resources, gpus: int) -> Handle:
        minutes = SPARE_MINUTES + (resources.minutes or USUAL_MINUTES)
        needs: dict[str, Any] = {"mem_gb": resources.memory_gb, "cpus_per_task": task.threads}
        if gpus and not self._local:
            needs["gpus_per_node"] = gpus
        self._executor.update_parameters(name=Path(task.folder).name, timeout_min=int(minutes), **needs)
        handle = Handle(self._executor.submit(SlurmTask(task)), task)
        self._held.append(handle)
        return handle

    def poll(self, handle: Handle) -> bool:
        if time.monotonic() - handle.looked < POLL_SECONDS:
            return False
        handle.looked = time.monotonic()
        if not handle.job.done():
            return False
        self._held = [other for other in self._held if other is not handle]
        error = str(handle.job.exception() or "")
        if "Errno 28" in error or "no space left" in error:
            raise OSError(errno.ENOSPC, "no space left on the disk", handle.task.folder)
        return True

    def cancel(self, handle: Handle) -> None:
        with contextlib.suppress(OSError):
            ask_to_end(Path(handle.task.folder), "kill")
        handle.job.cancel()

    def close(self) -> None:
        pass
