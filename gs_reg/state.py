"""The state of training: a model, its optimiser, its density control and the number of steps done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from gs_reg.densify import DensityControl
from gs_reg.edit import Edit
from gs_reg.optim import OptimConfig, Optimizer, ParameterGroup
from gs_reg.types import Cameras, Splats, Views

M = TypeVar("M", bound="Model")


@runtime_checkable
class Model(Protocol):
    """A function from views to splats, with parameters: an nn.Module that has `parameter_groups` and `canonical`."""

    def __call__(self, views: Views) -> Splats:
        """The splats for these views, differentiable."""
        ...

    def canonical(self) -> Splats:
        """The splats before any deformation, the same for every view; an Edit changes their rows."""
        ...

    def parameter_groups(self) -> Sequence[ParameterGroup]: ...
    def state_dict(self) -> Mapping[str, Tensor]: ...
    def to(self: M, device: torch.device) -> M: ...


@runtime_checkable
class Editable(Protocol):
    """A model whose number of Gaussians may change."""

    def edit(self, edit: Edit) -> None:
        """Applies the edit to all tensors that have a row for each Gaussian, buffers included."""
        ...


@runtime_checkable
class Constrained(Protocol):
    """A model whose parameters have bounds."""

    def constrain(self) -> None:
        """Puts parameters that a step took out of their bounds back, in place."""
        ...


@runtime_checkable
class Posed(Protocol):
    """A model whose splats lie in a frame of its own, such as that of a head, which is elsewhere in every frame."""

    def cameras(self, views: Views) -> Cameras:
        """The cameras of the views in that frame, differentiable."""
        ...


@dataclass
class State:
    """Everything that `fit` changes. `tensors()` and `step` are all that a checkpoint needs."""

    model: Model
    optimizer: Optimizer
    density: DensityControl | None = None
    step: int = 0
    """Number of steps done."""
    over: bool = False
    """Whether a later stage has trained the same tensors on."""

    def shares_tensors(self, other: State) -> bool:
        """Whether some parameter of the other state is the same memory."""
        mine, theirs = (
            {
                values.untyped_storage().data_ptr()
                for group in state.optimizer.groups.values()
                for values in group.tensors
            }
            for state in (self, other)
        )
        return bool(mine & theirs)

    @classmethod
    def begin(cls, model: Model, config: OptimConfig, density: DensityControl | None = None) -> State:
        """The state before the first step.

        Raises:
            ValueError: density control for a model with a fixed number of Gaussians.
        """
        if density is not None and not isinstance(model, Editable):
            raise ValueError(f"density control: {type(model).__name__} has a fixed number of Gaussians")
        return cls(model, Optimizer(model.parameter_groups(), config), density)

    def tensors(self) -> dict[str, Mapping[str, Any]]:
        """The tensors of `model`, `optimizer` and `density`."""
        density = {} if self.density is None else self.density.tensors()
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.tensors(), "density": density}

    def load(self, tensors: Mapping[str, Mapping[str, Any]], step: int) -> None:
        """Restores the optimiser and the density control from what `tensors` returned.

        Not the model: its number of rows may differ, so the caller builds it from its tensors beforehand.
        """
        self.optimizer.load(tensors["optimizer"])
        if self.density is not None:
            self.density.load(tensors["density"])
        self.step = step

    @torch.no_grad()
    def apply(self, edit: Edit) -> None:
        """Applies an edit to the model and to the optimiser's state.

        Raises:
            ValueError: no row would be left, a row, patch or group does not fit, or the model has a fixed number of
                Gaussians.
        """
        if not isinstance(self.model, Editable):
            raise ValueError(f"edit: {type(self.model).__name__} has a fixed number of Gaussians")
        if edit.axis == "gaussians":
            self._check(edit)
        self.model.edit(edit)
        self.optimizer.apply_edit(edit, self.model.parameter_groups())

    def _check(self, edit: Edit) -> None:
        """Before anything is changed: a wrong size would end in the native optimiser's memory."""
        unknown = edit.reset_groups - self.optimizer.groups.keys()
        if unknown:
            raise ValueError(f"edit: reset_groups: no group {', '.join(sorted(unknown))}")
        splats = self.model.canonical()
        before = count = len(splats)
        if edit.rows is not None:
            count = len(edit.rows)
            if edit.rows.is_floating_point() or edit.rows.dtype == torch.bool or edit.rows.ndim != 1:
                raise ValueError(f"edit: rows: expected row numbers [M], got {edit.rows.dtype} {list(edit.rows.shape)}")
            if count == 0:
                raise ValueError("edit: no Gaussian would be left")
            if not 0 <= int(edit.rows.min()) <= int(edit.rows.max()) < before:
                raise ValueError(f"edit: rows: expected 0 to {before - 1}, got {edit.rows.min()} to {edit.rows.max()}")
        if edit.fresh is not None and edit.fresh.shape != (count,):
            raise ValueError(f"edit: fresh: expected [{count}], got {list(edit.fresh.shape)}")
        for name, value in edit.patch.items():
            column = getattr(splats, name, None)
            if not isinstance(column, Tensor):
                raise ValueError(f"edit: patch: Splats have no {name!r}")
            want = [count, *column.shape[1:]]
            if list(value.shape) != want or value.dtype != column.dtype:
                got = f"{value.dtype} {list(value.shape)}"
                raise ValueError(f"edit: patch: {name}: expected {column.dtype} {want}, got {got}")
