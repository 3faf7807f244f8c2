"""What the stages of a job take, kept in its run: seconds and peaks of memory, also over interrupts."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from .folder import Run
from .progress import stage_bar

FILE = "stages.json"
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class StageTimes:
    run: Run
    shares: Mapping[str, float]
    """Stages in their order, and the percentage of the whole that each usually takes."""

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        """Shows progress in the block, and adds what it took to the stage."""
        names = list(self.shares)
        before = sum(self.shares[other] for other in names[: names.index(name)])
        last = 0.0
        with self.timed(name), stage_bar(name) as show:
            self.run.status("running", stage=name, share=before / 100)

            def progress(what: str, share: float) -> None:
                nonlocal last
                show(what, share)
                if time.monotonic() - last > 1:  # a file a second at most
                    last = time.monotonic()
                    self.run.status("running", stage=name, share=(before + share * self.shares[name]) / 100)

            yield progress

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Adds what the block took to the stage, also after an interrupt: what was spent was spent."""
        began = time.perf_counter()
        try:
            yield
        finally:
            stages = self.spent()
            entry = stages.setdefault(name, {"seconds": 0.0})
            entry["seconds"] = round(entry["seconds"] + time.perf_counter() - began, 2)
            entry["peak_gb"] = peak_memory()
            self.run.write_json(FILE, stages)

    def spent(self) -> dict[str, Any]:
        """Of each stage so far."""
        return self.run.read_json(FILE) if (self.run.path / FILE).is_file() else {}


def peak_memory() -> dict[str, float]:
    """Peaks of this process so far in GB: ram, and of the GPU allocated and reserved."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    peaks = {"ram": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9}
    if torch.cuda.is_available():
        peaks |= {
            "gpu_allocated": torch.cuda.max_memory_allocated() / 1e9,
            "gpu_reserved": torch.cuda.max_memory_reserved() / 1e9,
        }
    return {name: round(value, 3) for name, value in peaks.items()}
