"""Where jobs run: on this machine, on a Ray cluster, or under Slurm. None keeps state: the folder of the batch does."""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

from ..specs import Resources
from ..worker import Task

Name = Literal["local", "ray", "slurm"]


@runtime_checkable
class Executor(Protocol):
    workers: int
    """Most jobs at a time."""
    threads: int
    """Of a job that does not say."""
    gpus: int
    """That there are in all."""

    def capacity(self, resources: Resources, gpus: int) -> bool:
        """Whether one more job that needs this can begin now."""
        ...

    def refusal(self, resources: Resources, gpus: int) -> str | None:
        """Why a job that needs this can never begin."""
        ...

    def submit(self, task: Task, resources: Resources, gpus: int) -> Any:
        """Begins it, and returns a handle."""
        ...

    def poll(self, handle: Any) -> bool:
        """Whether it has ended, however that was.

        Raises:
            OSError: its status could not be written.
        """
        ...

    def cancel(self, handle: Any) -> None:
        """Ends it without more ado; one that waits in a queue does not begin."""
        ...

    def close(self) -> None:
        """Gives back what was taken for all of them."""
        ...


def open_executor(name: Name, workers: int | None, address: str | None, folder: Any) -> Executor:
    """The executor of a name.

    Raises:
        MissingPart: its package is not installed.
        InputError: Ray does not start, or no cluster is at the address.
    """
    if name == "local":
        from .local import LocalExecutor

        return LocalExecutor(workers)
    if name == "ray":
        from .on_ray import RayExecutor

        return RayExecutor(workers, address)
    from .on_slurm import SlurmExecutor

    return SlurmExecutor(workers, address, folder)
