"""Jobs on a Ray cluster, each a remote task that runs the command; without an address, a cluster of this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gs_reg.cores import available_cores
from gs_reg.errors import InputError, MissingPart

from ...runs.interrupts import SIGNALS
from ..specs import Resources
from ..states import ask_to_end
from ..worker import Task, work

LOOPBACK = "127.0.0.1"
ANSWER = 10.0
"""Seconds for the head of a cluster to answer."""
STARTS = 4
"""Times that a cluster of our own may be begun: Ray gives itself 30 s, and a busy machine takes longer."""


def check_address(address: str) -> None:
    """Whether something listens there: Ray itself would wait for a minute and a half without a word.

    Raises:
        InputError: it is no address, or nothing answers.
    """
    if address in ("auto", "local"):
        return
    try:
        there = urlsplit(address if "://" in address else f"//{address}")
        host, port = there.hostname, there.port
    except ValueError:  # a port that cannot be
        host, port = None, None
    if not host or not port:
        raise InputError(
            f"--address {address}: expected HOST:PORT, such as 10.0.0.5:6379, of the head of a Ray cluster"
        )
    try:
        socket.create_connection((host, port), timeout=ANSWER).close()
    except OSError as error:
        why = error.strerror or str(error)
        raise InputError(f"--address {address}: no Ray cluster answers there ({why}); is its head running?") from None


@contextlib.contextmanager
def same_handlers() -> Iterator[None]:
    """Ray sets a handler of SIGTERM of its own, which ends this process at once: ours comes back after the block."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


class RayExecutor:
    def __init__(self, workers: int | None, address: str | None):
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to others
        if address is None:
            # the one switch that makes all of Ray's processes listen on 127.0.0.1 alone; it is read at the import
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        try:
            import ray
        except ImportError:
            raise MissingPart("--executor ray: Ray is not installed: pip install 'gs-reg[ray]'") from None
        self._ray: Any = ray
        for attempt in range(STARTS if address is None else 1):
            try:
                with same_handlers():
                    self._start(ray, workers, address)
                break
            except Exception as error:  # of many types, for a cluster that is not there or does not start
                ray.shutdown()
                if attempt + 1 < STARTS and address is None:
                    continue
                first = (str(error).splitlines() or [""])[0]
                raise InputError(f"--executor ray: Ray did not start, or was not found: {first:.200}") from None
        there = ray.cluster_resources()
        self.gpus = int(there.get("GPU", 0))
        self.workers = workers or self.gpus or max(1, int(there.get("CPU", 1)))
        self.threads = 1
        self._nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._held: list[Any] = []

    def _start(self, ray: Any, workers: int | None, address: str | None) -> None:
        quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        if address is not None:
            ray.init(address, **quiet)
            return
        cores = available_cores()
        ray.init("local", num_cpus=max(cores, workers or 1), include_dashboard=False, **quiet)
        if {node["NodeManagerAddress"] for node in ray.nodes()} != {LOOPBACK}:
            raise RuntimeError("Ray was imported before, and would listen beyond this machine")

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
                    ask_to_end(Path(task.folder), "kill")
        self._ray.cancel(handle, force=True)

    def close(self) -> None:
        self._ray.shutdown()
