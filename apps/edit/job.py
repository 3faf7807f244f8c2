"""A job at work: its run, scene and model; what each stage took, and how far all of it is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from gs_reg.diffusion.memory import limit
from gs_reg.diffusion.model import DiffusionModel
from gs_reg.errors import InputError

from ..runs.folder import Run
from ..runs.progress import say, stage_bar
from ..runs.stage_times import FILE, Progress, peak_memory
from .config import PartsConfig
from .scene import EditScene

STAGES: Mapping[str, float] = {"maps": 25, "labels": 15, "anchors": 20, "training": 35, "results": 5}
"""Stages in their order, and the share of the whole that each usually takes, in percent."""


@dataclass
class Job:
    run: Run
    config: PartsConfig
    scene: EditScene
    device: torch.device
    loaded: DiffusionModel | None = field(default=None, init=False)

    def model(self) -> DiffusionModel:
        """The pipeline of --model; loaded once."""
        if self.loaded is None:
            self.loaded = load_model(self.config, self.device)
        return self.loaded

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        """Shows progress in the block, and adds its seconds, calls of the model and memory to those of the stage."""
        before = sum(share for other, share in STAGES.items() if list(STAGES).index(other) < list(STAGES).index(name))
        began, calls, last = time.perf_counter(), self._calls(), 0.0
        self.run.status("running", stage=name, share=before / 100)
        with stage_bar(name) as show:

            def progress(what: str, share: float) -> None:
                nonlocal last
                show(what, share)
                if time.monotonic() - last > 1:  # a file a second at most
                    last = time.monotonic()
                    self.run.status("running", stage=name, share=(before + share * STAGES[name]) / 100)

            try:
                yield progress
            finally:
                self._add(name, time.perf_counter() - began, calls)

    def _calls(self) -> dict[str, int]:
        return {} if self.loaded is None else dict(self.loaded.calls_by_purpose)

    def _add(self, name: str, seconds: float, calls_before: Mapping[str, int]) -> None:
        """Also after an interrupt: what was spent was spent."""
        stages = self.spent()
        entry = stages.setdefault(name, {"seconds": 0.0, "calls": {}})
        entry["seconds"] = round(entry["seconds"] + seconds, 2)
        for purpose, count in self._calls().items():
            if count > calls_before.get(purpose, 0):
                entry["calls"][purpose] = entry["calls"].get(purpose, 0) + count - calls_before.get(purpose, 0)
        entry["peak_gb"] = peak_memory()
        self.run.write_json(FILE, stages)

    def spent(self) -> dict[str, Any]:
        """Of each stage so far: seconds, calls of the model by purpose, peak of the memory."""
        return self.run.read_json(FILE) if (self.run.path / FILE).is_file() else {}

    def say_notes(self) -> None:
        for note in self.scene.notes:
            say(f"  {note}")


def load_model(config: PartsConfig, device: torch.device) -> DiffusionModel:
    """Raises InputError where none is named, or as DiffusionModel.load()."""
    if config.model is None:
        raise InputError("--model: no pipeline named: expected a folder of diffusers, with model_index.json in it")
    with stage_bar("model") as progress:
        progress(f"loading {config.model}", 0.0)
        limit(device, config.vram_gb)
        options = {"vram_gb": config.vram_gb, "allow_download": config.allow_download}
        return DiffusionModel.load(config.model, device=device, **options)


def file_name(part: str) -> str:
    """Of a part's files, without an ending."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in part.strip())


def is_done(path: Path) -> bool:
    """Files are written atomically: what is there is complete."""
    return path.is_file()
