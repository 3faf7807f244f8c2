"""Where a training is: a model, its optimiser, its density control, and how many steps were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from gs_reg.densify import DensityControl
from gs_reg.edit import Edit
from gs_reg.optim import OptimConfig, Optimizer, ParameterGroup
from gs_reg.types import Splats, Views

M = TypeVar("M", bound="Model")


@runtime_checkable
class Model(Protocol):
    """A function of the views with parameters. An nn.Module that gives its parameters as groups is one."""

    def __call__(self, views: Views) -> Splats:
        """The splats that these views show, differentiable."""
        ...

    def canonical(self) -> Splats:
        """The rows that an Edit changes: the same in every view, before any deformation."""
        ...

    def parameter_groups(self) -> Sequence[ParameterGroup]: ...
    def state_dict(self) -> Mapping[str, Tensor]: ...
    def to(self: M, device: torch.device) -> M: ...


@runtime_checkable
class Editable(Protocol):
    """A model whose number of Gaussians may change."""

    def edit(self, edit: Edit) -> None:
        """Gathers the rows of all its tensors that have one for each Gaussian, and takes the new values."""
        ...


@dataclass
class State:
    """All that `fit` changes. Its tensors and `step` make it whole again."""

    model: Model
    optimizer: Optimizer
    density: DensityControl | None = None
    step: int = 0
    """Steps that were made."""

    @classmethod
    def begin(cls, model: Model, config: OptimConfig, density: DensityControl | None = None) -> State:
        """Before the first step.

        Raises:
            ValueError: density control of a model that cannot change its number of Gaussians.
        """
        if density is not None and not isinstance(model, Editable):
            raise ValueError(f"density control: {type(model).__name__} has a fixed number of Gaussians")
        return cls(model, Optimizer(model.parameter_groups(), config), density)

    def tensors(self) -> dict[str, Mapping[str, Any]]:
        """The tensors of `model`, `optimizer` and `density`."""
        density = {} if self.density is None else self.density.tensors()
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.tensors(), "density": density}

    def load(self, tensors: Mapping[str, Mapping[str, Any]], step: int) -> None:
        """Takes what `tensors` gave, less the model, which is made anew from its tensors: its rows may be others."""
        self.optimizer.load(tensors["optimizer"])
        if self.density is not None:
            self.density.load(tensors["density"])
        self.step = step

    def apply(self, edit: Edit) -> None:
        """Changes the model's rows, and the optimiser's state with them.

        Raises:
            ValueError: no row would be left, or the model has a fixed number of Gaussians.
        """
        if edit.rows is not None and len(edit.rows) == 0:
            raise ValueError("edit: no Gaussian would be left")
        if not isinstance(self.model, Editable):
            raise ValueError(f"edit: {type(self.model).__name__} has a fixed number of Gaussians")
        self.model.edit(edit)
        self.optimizer.apply_edit(edit, self.model.parameter_groups())
