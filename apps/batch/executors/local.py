"""Jobs on this machine: a thread for each, which runs the command in a process of its own and waits for it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

from gs_reg.cores import available_cores

from ..specs import Resources
from ..states import ask_to_end
from ..worker import Task, work


@dataclass
class Handle:
    task: Task
    gpus: tuple[str, ...]
    memory_gb: float
    ended: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None


class LocalExecutor:
    def __init__(self, workers: int | None):
        cores = available_cores()
        self._free_gpus = gpus_here()
        self.gpus = len(self._free_gpus)
        self.workers = workers or self.gpus or max(1, cores // 4)
        said = os.environ.get("OMP_NUM_THREADS", "")
        self.threads = int(said) if said.isdecimal() and int(said) else max(1, cores // self.workers)
        self.memory_gb = memory("MemTotal")
        self._handles: list[Handle] = []

    def capacity(self, resources: Resources, gpus: int) -> bool:
        self._handles = [handle for handle in self._handles if not handle.ended.is_set()]
        if len(self._handles) >= self.workers or gpus > len(self._free_gpus):
            return False
        if not self._handles:
            return True
        # those that have just begun have not taken theirs yet
        promised = sum(handle.memory_gb for handle in self._handles)
        free = min(memory("MemAvailable"), self.memory_gb - promised)
        return resources.memory_gb <= free

    def refusal(self, resources: Resources, gpus: int) -> str | None:
        if gpus > self.gpus:
            return f"needs {gpus} GPUs, this machine has {self.gpus}"
        if resources.memory_gb > self.memory_gb:
            return f"needs {resources.memory_gb:g} GB of memory, this machine has {self.memory_gb:.0f}"
        return None

    def submit(self, task: Task, resources: Resources, gpus: int) -> Handle:
        mine = tuple(self._free_gpus.pop(0) for _ in range(gpus))
        if self.gpus:
            task = dataclasses.replace(task, gpus=",".join(mine))
        handle = Handle(task, mine, resources.memory_gb)
        self._handles.append(handle)
        threading.Thread(target=self._run, args=(handle,), name=Path(task.folder).name, daemon=True).start()
        return handle

    def _run(self, handle: Handle) -> None:
        try:
            work(handle.task)
        except BaseException as error:  # told by poll()
            handle.error = error
        finally:
            self._free_gpus += handle.gpus
            handle.ended.set()

    def poll(self, handle: Handle) -> bool:
        if handle.ended.is_set() and handle.error is not None:
            raise handle.error
        return handle.ended.is_set()

    def cancel(self, handle: Handle) -> None:
        with contextlib.suppress(OSError):
            ask_to_end(Path(handle.task.folder), "kill")

    def close(self) -> None:
        pass


def memory(name: str) -> float:
    """GB of /proc/meminfo; without it, as much as could be."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024 / 1e9
    return float("inf")


def gpus_here() -> list[str]:
    """Those that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else [str(number) for number in range(count)]
