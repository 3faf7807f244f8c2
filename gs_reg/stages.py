"""Training in stages, each with its own model, loss terms, views and render config; checkpoints cover all of them."""

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
from gs_reg.types import Splats


def no_density_control() -> None:
    """The default of `Stage.density`."""


@dataclass(frozen=True)
class Stage:
    name: str
    config: FitConfig
    shoot: Callable[[int], Shot]
    """The views and the render config of a step."""
    cost: Callable[[Context], Mapping[str, Tensor]]
    """Loss values by name; their sum is minimised."""
    begin: Callable[[Model | None], Model]
    """Makes the model from that of the stage before; None for the first stage."""
    load: Callable[[Mapping[str, Tensor]], Model]
    """Makes the model from a state dict, for resuming."""
    density: Callable[[], DensityControl | None] = no_density_control
    """Makes the density control for the first step."""


class Training:
    """A run through all stages, at some step. Iterate over it to do the remaining steps."""

    def __init__(self, stages: Sequence[Stage], stage: Stage, model: Model):
        names = [other.name for other in stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages: expected a name each, got {', '.join(names)}")
        self.stages, self.stage = stages, stage
        self.state = State.begin(model, stage.config.optim, stage.density())

    @classmethod
    def begin(cls, stages: Sequence[Stage], device: torch.device = torch.device("cpu")) -> Training:
        """Before the first step of the first stage."""
        return cls(stages, stages[0], stages[0].begin(None).to(device))

    @classmethod
    def resume(
        cls, stages: Sequence[Stage], saved: checkpoint.Checkpoint, device: torch.device = torch.device("cpu")
    ) -> Training:
        """From a checkpoint of `save`.

        Raises:
            InputError: the checkpoint is of a stage that is not among these, or of another step than it says, or its
                tensors do not make splats.
        """
        name = saved.state["stage"]
        stage = next((stage for stage in stages if stage.name == name), None)
        if stage is None:
            known = ", ".join(other.name for other in stages)
            raise InputError(f"the checkpoint is of stage {name!r:.40}, which is none of those asked for: {known}")
        model = stage.load(saved.model).to(device)
        with torch.no_grad():
            _check(model.canonical())
        training = cls(stages, stage, model)
        tensors = {"optimizer": saved.optim["groups"], "density": saved.optim["density"]}
        training.state.load(tensors, saved.state["done"])
        if training.step != saved.step:
            raise InputError(f"the checkpoint's stage and step ({saved.state['done']!r:.40}) are not those of its name")
        return training

    @classmethod
    def open(cls, stages: Sequence[Stage], folder: Path, device: torch.device = torch.device("cpu")) -> Training:
        """From the newest checkpoint in the folder, or before the first step where there is none."""
        newest = checkpoint.latest(folder)
        return cls.begin(stages, device) if newest is None else cls.resume(stages, checkpoint.load(newest), device)

    def save(self, folder: Path, *, keep_every: int | None = None, **details: Any) -> Path:
        """Writes a checkpoint; `details` are further plain values for its state.json."""
        tensors = self.state.tensors()
        optim = {"groups": tensors["optimizer"], "density": tensors["density"]}
        state = {"stage": self.stage.name, "done": self.state.step}
        if state.keys() & details.keys():
            raise ValueError(f"details: {', '.join(state.keys() & details.keys())}: what resuming needs stands there")
        state |= details
        return checkpoint.save(
            folder, self.step, model=tensors["model"], optim=optim, state=state, keep_every=keep_every
        )

    @property
    def step(self) -> int:
        """Number of steps done, over all stages."""
        before = self.stages[: self.stages.index(self.stage)]
        return sum(stage.config.steps for stage in before) + self.state.step

    @property
    def steps(self) -> int:
        """Number of steps of all stages."""
        return sum(stage.config.steps for stage in self.stages)

    def __iter__(self) -> Iterator[Step]:
        """Does the remaining steps; at each one, `stage`, `state` and `step` are those after it.

        Raises:
            FloatingPointError: as `fit`.
        """
        for stage in self.stages[self.stages.index(self.stage) :]:
            before = self.state
            if stage is not self.stage:
                self.stage, model = stage, stage.begin(self.state.model)
                self.state = State.begin(model, stage.config.optim, stage.density())
            for step in fit(self.state, stage.shoot, stage.cost, stage.config):
                if step.number == 0 and before is not self.state:
                    before.over = before.shares_tensors(self.state)
                yield step


def _check(splats: Splats) -> None:
    """Raises InputError where the columns are no splats: kernels would read beyond the end of a short one."""
    count, K = len(splats), splats.sh.shape[1] if splats.sh.ndim == 3 else 0
    wanted = {"means": [count, 3], "quats": [count, 4], "log_scales": [count, 3], "opacity_logits": [count]}
    for name, shape in (wanted | {"sh": [count, K, 3]}).items():
        column, dtype = getattr(splats, name), splats.means.dtype
        if list(column.shape) != shape or column.dtype != dtype or not dtype.is_floating_point:
            raise InputError(
                f"the checkpoint's {name}: expected {shape} of floats, got {list(column.shape)} {column.dtype}"
            )
    if count == 0 or round(K**0.5) ** 2 != K or K == 0:
        raise InputError(f"the checkpoint has {count} Gaussians with {K} SH coefficients")
    for name, column in splats.extra.items():
        if column.shape[:1] != (count,):
            raise InputError(f"the checkpoint's {name}: expected {count} rows, got {list(column.shape)}")
