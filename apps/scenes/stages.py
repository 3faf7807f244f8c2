"""The stages of a run's training: on the rays of the photos first, then free. Each has its model, terms and steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from gs_reg.densify import Densifier, DensifyConfig
from gs_reg.dropout import baked
from gs_reg.fit import FitConfig, Model
from gs_reg.models.coherent import Coherent
from gs_reg.models.free import Free, FreeConfig
from gs_reg.models.pixel_aligned import PixelAligned
from gs_reg.optim import make_optimizer
from gs_reg.terms.scene import SceneTerms
from gs_reg.types import Splats


@dataclass(frozen=True)
class FreeStage:
    """Gaussians that may leave their rays; 0 steps = none."""

    model: FreeConfig = field(default_factory=FreeConfig)
    terms: SceneTerms = field(default_factory=SceneTerms)
    train: FitConfig = field(default_factory=lambda: FitConfig(steps=0))
    densify: DensifyConfig = DensifyConfig()


@dataclass(frozen=True)
class Stage:
    name: str
    before: int
    """Steps of the stages before it."""
    terms: SceneTerms
    fit: FitConfig
    densify: DensifyConfig = DensifyConfig()


@dataclass
class State:
    """Where a run is: in which stage, with which model, optimiser and densifier, after how many steps of that stage."""

    stage: Stage
    model: Model
    optimizer: torch.optim.Optimizer
    done: int
    densifier: Densifier | None = None

    def splats(self) -> Splats:
        """As they are drawn and exported, without gradient."""
        with torch.no_grad():
            return baked(self.model(), self.stage.fit.dropout)

    @property
    def step(self) -> int:
        """Steps since the run began."""
        return self.stage.before + self.done


def begun(stage: Stage, model: Model, densifier: dict[str, torch.Tensor] | None = None) -> State:
    """The start of a stage; `densifier` holds the tensors of another one that is to go on."""
    densify = None if stage.densify.method == "none" else Densifier(stage.densify, densifier)
    return State(stage, model, make_optimizer(model.parameter_groups(), stage.fit.optim.selective), 0, densify)


def stages_of(config) -> tuple[Stage, ...]:
    """The stages that a `job.Config` asks for."""
    rays = Stage("rays", 0, config.terms, config.train)
    if config.start == "random":
        rays = Stage("free", 0, config.free.terms, config.free.train, config.free.densify)
    if config.stop_after == "init":
        return (replace(rays, fit=replace(rays.fit, steps=0)),)
    if config.start == "random":
        return (rays,)
    if config.free.train.steps == 0:
        return (rays,)
    return rays, Stage("free", config.train.steps, config.free.terms, config.free.train, config.free.densify)


def steps_of(stages: Sequence[Stage]) -> int:
    return stages[-1].before + stages[-1].fit.steps


def following(stage: Stage, state: State, config) -> State:
    """The start of the free stage, from what the stage on rays has learned."""
    return begun(stage, Free.from_splats(state.splats(), config.free.model))


def model_of(stage: Stage, tensors: dict[str, torch.Tensor], config) -> Model:
    """The stage's model, from the tensors of a checkpoint."""
    if stage.name == "free":
        return Free(tensors, config.free.model)
    if config.coherent.on:
        return Coherent(tensors, config.coherent.decoders, config.model)
    return PixelAligned(tensors, config.model)
