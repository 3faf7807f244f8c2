"""Jobs on a Ray cluster, each a remote task that runs the command; without an address, a cluster of this machine."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Any

from gs_reg.errors import InputError, MissingPart

from ..specs import Resources
from ..states import STOP
from ..worker import Task, work

LOOPBACK = "127.0.0.1"


class RayExecutor:
    def __init__(self, workers: int | None, address: str | None):
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to others
        try:
            import ray
        except ImportError:
            raise MissingPart("--executor ray: Ray is not installed: pip install 'gs-reg[ray]'") from None
        self._ray: Any = ray
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        try:
            if address is None:
                own: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": LOOPBACK}
                ray.init("local", num_cpus=max(cores, workers or 1), **own, **quiet)
            else:
                ray.init(address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InputError(f"--address {address}: {(str(error).splitlines() or [''])[0]:.200}") from None
        there = ray.cluster_resources()
        self.gpus = int(there.get("GPU", 0))
        self.workers = workers or self.gpus or max(1, int(there.get("CPU", 1)))
        self.threads = 1
        self._nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._held: list[Any] = []

    def capacity(self, resources: Resources, gpus: int) -> bool:
        """Ray keeps what finds no room in a queue of its own."""
        return len(self._held) < self.workers

    def refusal(self, resources: Resources, gpus: int) -> str | None:
        fits = [
            node
            for node in self._nodes
            if node.get("GPU", 0) >= gpus
            and node.get("CPU", 0) >= (resources.threads or self.threads)
            and node.get("memory", 0) >= resources.memory_gb * 1e9
        ]
        return None if fits else f"no node of the cluster has {gpus} GPUs and {resources.memory_gb:g} GB for a job"

    def submit(self, task: Task, resources: Resources, gpus: int) -> Any:
        needs = {"num_cpus": task.threads, "num_gpus": gpus, "memory": int(resources.memory_gb * 1e9)}
        handle = self._ray.remote(work).options(max_retries=0, **needs).remote(task)
        self._held.append((handle, task))
        return handle

    def poll(self, handle: Any) -> bool:
        if not self._ray.wait([handle], timeout=0)[0]:
            return False
        self._held = [pair for pair in self._held if pair[0] != handle]
        try:
            self._ray.get(handle)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, BaseException) else error from None
        except self._ray.exceptions.RayError:
            pass  # its worker or node is gone, or it was cancelled: the status of the job tells
        return True

    def cancel(self, handle: Any) -> None:
        for other, task in self._held:
            if other == handle:
                with contextlib.suppress(OSError):
                    (Path(task.folder) / STOP).write_text("kill", encoding="utf-8")
        self._ray.cancel(handle, force=True)

    def close(self) -> None:
        self._ray.shutdown()
