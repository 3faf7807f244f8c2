"""Training in several stages, each with its own model, terms, views and drawing; saved, resumed and stopped alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gs_reg.densify import DensityControl
from gs_reg.errors import InputError
from gs_reg.fit import FitConfig, Step, fit
from gs_reg.io import checkpoint
from gs_reg.shot import Shot
from gs_reg.state import Model, State
from gs_reg.terms import Context


def fixed_number() -> None:
    """The density control of a stage without any."""


@dataclass(frozen=True)
class Stage:
    name: str
    config: FitConfig
    shoot: Callable[[int], Shot]
    """What a step looks at."""
    cost: Callable[[Context], Mapping[str, Tensor]]
    """The values whose sum is made small, by name."""
    begin: Callable[[Model | None], Model]
    """Its model, from that of the stage before; the first stage is given None."""
    load: Callable[[Mapping[str, Tensor]], Model]
    """Its model, from the tensors of a state dict."""
    density: Callable[[], DensityControl | None] = fixed_number
    """Its density control as it is at the first step."""


class Training:
    """Where a training is. Iterating makes the steps that are left, through all stages."""

    def __init__(self, stages: Sequence[Stage], stage: Stage, model: Model):
        self.stages, self.stage = stages, stage
        self.state = State.begin(model, stage.config.optim, stage.density())

    @classmethod
    def begin(cls, stages: Sequence[Stage], device: torch.device = torch.device("cpu")) -> Training:
        """At the first step of the first stage."""
        return cls(stages, stages[0], stages[0].begin(None).to(device))

    @classmethod
    def resume(
        cls, stages: Sequence[Stage], saved: checkpoint.Checkpoint, device: torch.device = torch.device("cpu")
    ) -> Training:
        """Where `save` left it.

        Raises:
            InputError: it was in a stage that is none of these.
        """
        name = saved.state["stage"]
        stage = next((stage for stage in stages if stage.name == name), None)
        if stage is None:
            raise InputError(f"the checkpoint is of stage {name!r}, past {stages[-1].name!r}, the last one asked for")
        training = cls(stages, stage, stage.load(saved.model).to(device))
        moments = {"optimizer": saved.optim["groups"], "density": saved.optim["density"]}
        training.state.load(moments, saved.state["done"])
        return training

    @classmethod
    def open(cls, stages: Sequence[Stage], folder: Path, device: torch.device = torch.device("cpu")) -> Training:
        """Where the newest checkpoint in the folder left it, or at the first step where there is none."""
        newest = checkpoint.latest(folder)
        return cls.begin(stages, device) if newest is None else cls.resume(stages, checkpoint.load(newest), device)

    def save(self, folder: Path, *, keep_every: int | None = None, **details: Any) -> Path:
        """Writes a checkpoint of this moment; `details` are plain values that stand in its state.json too."""
        tensors = self.state.tensors()
        moments = {"groups": tensors["optimizer"], "density": tensors["density"]}
        place = {"stage": self.stage.name, "done": self.state.step, **details}
        return checkpoint.save(
            folder, self.step, model=tensors["model"], optim=moments, state=place, keep_every=keep_every
        )

    @property
    def step(self) -> int:
        """Steps that were made, over all stages."""
        before = self.stages[: self.stages.index(self.stage)]
        return sum(stage.config.steps for stage in before) + self.state.step

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.config.steps for stage in self.stages)

    def __iter__(self) -> Iterator[Step]:
        """Makes the steps that are left; at each one, `stage`, `state` and `step` say where it is.

        Raises:
            FloatingPointError: as `fit`.
        """
        for stage in self.stages[self.stages.index(self.stage) :]:
            if stage is not self.stage:
                self.stage, model = stage, stage.begin(self.state.model)
                self.state = State.begin(model, stage.config.optim, stage.density())
            yield from fit(self.state, stage.shoot, stage.cost, stage.config)
