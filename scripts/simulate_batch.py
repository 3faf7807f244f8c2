"""How the batch engine would do with many workers: job file, lock, status files and loop are real, the jobs are not.

    python scripts/simulate_batch.py --jobs 10000 --workers 100 --seconds 59 61 118

The clock is the real one, plus what the engine would sleep until the next job ends. So its own work counts, as it
would; what workers write for themselves does not, and is measured apart.
"""

from __future__ import annotations

import argparse
import heapq
import json
import resource
import sys
import tempfile
import time
import types
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gs_reg.apps.batch import engine as engine_module
from gs_reg.apps.batch.batch import Batch
from gs_reg.apps.batch.engine import Engine
from gs_reg.apps.batch.jobfile import read_jobs
from gs_reg.apps.batch.kinds import KINDS, Kind, Words
from gs_reg.apps.batch.lease import acquire
from gs_reg.apps.batch.lockfile import Lock, lock_jobs, write_lock
from gs_reg.apps.batch.page import write_report
from gs_reg.apps.batch.paths import Digests
from gs_reg.apps.batch.specs import Resources
from gs_reg.apps.batch.states import read_status, write_status
from gs_reg.apps.batch.worker import Task


@dataclass(frozen=True)
class Config:
    """Flags of the simulated kind."""

    seconds: float = 0.0
    after: str = ""


class Clock:
    """The module `time` of the engine."""

    def __init__(self) -> None:
        self.skipped, self.next_end = 0.0, 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.skipped

    def time(self) -> float:
        return time.time() + self.skipped

    def sleep(self, seconds: float) -> None:
        self.skipped += max(seconds, self.next_end - self.monotonic())


class Simulated:
    """Workers that write what real ones write, and end when their time has come."""

    def __init__(self, workers: int, clock: Clock):
        self.workers, self.threads, self.gpus, self.clock = workers, 1, 0, clock
        self.ends: list[tuple[float, str]] = []
        self.busy = self.of_workers = 0.0

    def capacity(self, resources: Resources, gpus: int) -> bool:
        return True

    def refusal(self, resources: Resources, gpus: int) -> str | None:
        return None

    def submit(self, task: Task, resources: Resources, gpus: int) -> tuple[str, float]:
        seconds = float(task.fresh[0])
        self._written(task.folder, "running")
        end = self.clock.monotonic() + seconds
        self.busy += seconds
        heapq.heappush(self.ends, (end, task.folder))
        self.clock.next_end = self.ends[0][0]
        return task.folder, end

    def poll(self, handle: tuple[str, float]) -> bool:
        folder, end = handle
        if self.clock.monotonic() < end:
            return False
        self.ends.remove((end, folder))
        heapq.heapify(self.ends)
        self.clock.next_end = self.ends[0][0] if self.ends else 0.0
        self._written(folder, "done")
        return True

    def _written(self, folder: str, state: Any) -> None:
        """What a worker writes at the beginning and at the end, in time that is not the engine's."""
        began = time.monotonic()
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        lease = acquire(path)
        assert lease is not None
        write_status(path, replace(read_status(path), state=state, attempt=1))
        lease.release()
        spent = time.monotonic() - began
        self.of_workers += spent
        self.clock.skipped -= spent

    def cancel(self, handle: Any) -> None:
        raise NotImplementedError("a simulation is not interrupted")

    def close(self) -> None:
        pass


def make_batch(path: Path, count: int, lengths: Sequence[float]) -> tuple[Batch, float]:
    """A batch in which every fourth job waits for the one before, and the seconds until its lock is written."""
    module: Any = types.ModuleType("gs_reg.apps.simulated")
    module.Config = Config
    sys.modules[module.__name__] = module
    KINDS["simulated"] = Kind("simulated", lambda settings, *_: Words((str(settings["seconds"]),), ()), gpu=False)
    jobs = [{"id": f"j{i}", "seconds": float(lengths[i % len(lengths)])} for i in range(count)]
    for i in range(3, count, 4):
        jobs[i]["needs"] = [f"j{i - 1}"]
    (path / "jobs.yaml").write_text(json.dumps({"kind": "simulated", "jobs": jobs}, indent=1))
    began = time.monotonic()
    digests = Digests()
    batch = Batch(path, Lock(lock_jobs(read_jobs(path / "jobs.yaml"), digests)))
    write_lock(path, batch.lock, digests)
    return batch, time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--seconds", type=float, nargs="+", default=[60.0], help="lengths of jobs, in turn")
    parser.add_argument("--folder", help="where the batch is written; default the folder for temporary files")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        batch, planning = make_batch(Path(folder), asked.jobs, asked.seconds)
        clock = Clock()
        executor = Simulated(asked.workers, clock)
        engine_module.time = clock  # pyright: ignore[reportAttributeAccessIssue]
        engine = Engine(batch, executor, batch.lock.jobs)
        began, spent = clock.monotonic(), time.process_time()
        states = engine.run()
        makespan, spent = clock.monotonic() - began, time.process_time() - spent
        assert all(status.state == "done" for status in states)
        began = time.monotonic()
        write_report(batch)
        page = time.monotonic() - began
        ideal = max(executor.busy / asked.workers, max(asked.seconds))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        files = (Path(folder) / "jobs.lock.json").stat().st_size / 1e6
        print(f"{asked.jobs:,} jobs of {', '.join(f'{s:g}' for s in asked.seconds)} s on {asked.workers} workers:")
        print(f"  from begin to end {makespan / 60:.1f} min; the jobs alone {ideal / 60:.1f} min")
        print(f"  workers busy {ideal / makespan:.1%}")
        print(f"  reading and locking the file {planning:.1f} s, jobs.lock.json {files:.1f} MB; report {page:.1f} s")
        print(f"  the engine's processor {1000 * spent / asked.jobs:.1f} ms a job, memory {memory:.0f} MB at most")
        print(f"  files of a worker {1000 * executor.of_workers / asked.jobs:.1f} ms a job")


if __name__ == "__main__":
    main()
