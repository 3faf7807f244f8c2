"""The loop that all stages of the teacher share: rate, average of the weights, checkpoints, events."""

from __future__ import annotations

import copy
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from gs_reg.errors import InputError, reading
from gs_reg.io import checkpoint

from ..runs.progress import say

EVENT_EVERY = 50
SETTINGS = "settings.json"
"""Of a training: network, loss, seed and data, which all calls share."""


@dataclass(frozen=True)
class StageConfig:
    steps: int
    batch: int = 16
    rate: float = 1.5e-3
    """Learning rate after the first 150 steps; it falls to 1 % over the last part of the steps."""
    cooldown: float = 0.4
    """That part."""
    save_minutes: float = 5.0
    """Between checkpoints."""
    check_every: int = 1000
    """Steps between small measurements on the validation split."""


@dataclass(frozen=True)
class Loss:
    maps: float = 0.3
    """Weight of the loss on the attention maps of part names; 0 trains without it."""
    binding: float = 0.3
    """Weight of the loss on where image tokens look among the words."""
    object: float = 2.0
    """How much more the object counts in the flow loss than the background."""


@runtime_checkable
class Stage(Protocol):
    """What is trained. All randomness of a step comes from its generators, so that a resumed run is the same run."""

    module: nn.Module

    def loss(self, rng: np.random.Generator, noise: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Value to descend, and the parts of it for the record."""
        ...

    def check(self, averaged: nn.Module) -> dict[str, Any]:
        """A quick measurement on the validation split."""
        ...


class Trainer:
    """A stage with its optimiser, the running average of its weights and its checkpoints."""

    def __init__(self, name: str, number: int, stage: Stage, config: StageConfig, folder: Path, seed: int):
        self.name, self.number, self.stage, self.config, self.seed = name, number, stage, config, seed
        self.checkpoints, self.events = folder / name, folder / "events.jsonl"
        self.averaged = copy.deepcopy(stage.module).eval()
        trained = [p for p in stage.module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=config.rate, betas=(0.9, 0.99), weight_decay=0.01)
        self.step, self.seconds, self.totals = 0, 0.0, {}
        if (newest := checkpoint.latest(self.checkpoints)) is not None:
            self._restore(newest)

    def train_step(self) -> None:
        began = time.process_time()
        rng = np.random.default_rng([self.seed, self.number, self.step])
        noise = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        loss, values = self.stage.loss(rng, noise)
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.stage.module.parameters(), 1.0)
        if not bool(norm.isfinite()):
            raise FloatingPointError(f"{self.name}: the gradient of step {self.step} is not finite")
        self.optimizer.step()
        with torch.no_grad():
            share = 1 - min(0.999, (1 + self.step) / (10 + self.step))
            for averaged, p in zip(self.averaged.parameters(), self.stage.module.parameters(), strict=True):
                averaged.lerp_(p, share)
        self.step += 1
        self.seconds += time.process_time() - began
        self._record(values)

    def rate(self) -> float:
        left = (self.config.steps - self.step) / max(1, self.config.cooldown * self.config.steps)
        falling = 0.5 * (1 - math.cos(math.pi * min(1.0, left)))
        return self.config.rate * min(1.0, (self.step + 1) / 150) * max(0.01, falling)

    def _record(self, values: dict[str, float]) -> None:
        for key, value in values.items():
            self.totals[key] = self.totals.get(key, 0.0) + value / EVENT_EVERY
        if self.step % EVENT_EVERY == 0:
            rounded = {key: round(value, 4) for key, value in self.totals.items()}
            line = {"stage": self.name, "step": self.step, "cpu_seconds": round(self.seconds), **rounded}
            if self.step % self.config.check_every == 0:
                line["validation"] = self.stage.check(self.averaged)
            self.totals = {}
            with self.events.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            say(json.dumps(line))

    def save(self) -> None:
        model = {"weights": self.stage.module.state_dict(), "averaged": self.averaged.state_dict()}
        state = {"seconds": self.seconds}
        checkpoint.save(self.checkpoints, self.step, model=model, optim=self.optimizer.state_dict(), state=state)

    def _restore(self, path: Path) -> None:
        stored = checkpoint.load(path)
        try:
            self.stage.module.load_state_dict(stored.model["weights"])
            self.averaged.load_state_dict(stored.model["averaged"])
            self.optimizer.load_state_dict(stored.optim)
        except (RuntimeError, ValueError, KeyError) as error:
            raise InputError(f"{path}: of another network than the flags say; use the same flags or --out") from error
        self.step, self.seconds = stored.step, stored.state["seconds"]


def read_training_settings(folder: Path) -> dict[str, Any]:
    path = folder / SETTINGS
    if not path.is_file():
        raise InputError(f"{folder}: no {SETTINGS}: no training of a teacher; `gs-reg teacher train --out {folder}`")
    with reading(path):
        return json.loads(path.read_text(encoding="utf-8"))


def averaged_weights(folder: Path, stage: str) -> dict[str, Tensor] | None:
    """The running average in the newest checkpoint of a stage; None where there is none."""
    newest = checkpoint.latest(folder / stage)
    return None if newest is None else checkpoint.load(newest).model["averaged"]
