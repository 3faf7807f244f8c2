"""Structural changes of Gaussians (clone, split, prune, relocate ...): each is one Edit, and one function moves model
and optimiser through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass(frozen=True)
class Edit:
    """M Gaussians made from N: first rows are gathered, then some columns of Splats get new values."""

    rows: Int[Tensor, "M"] | None = None
    """Which old Gaussian each new one starts as; None = the same ones in place."""
    fresh: Bool[Tensor, "M"] | None = None
    """Those whose optimiser starts anew; None = none."""
    patch: Mapping[str, Tensor] = field(default_factory=dict)
    """New values by column of Splats, M rows each."""
    forget: frozenset[str] = frozenset()
    """Columns whose optimiser starts anew in every row."""


@runtime_checkable
class Editable(Protocol):
    """A model whose parameters and buffers have a row for each Gaussian."""

    def edit(self, edit: Edit) -> None: ...
    def parameter_groups(self) -> list[dict]: ...


def apply(edit: Edit, model: Editable, optimizer: torch.optim.Optimizer) -> None:
    """Changes the model's rows and, parameter by parameter, the optimiser's state with them.

    Raises:
        ValueError: nothing would be left.
    """
    if edit.rows is not None and len(edit.rows) == 0:
        raise ValueError("edit: no Gaussian would be left")
    model.edit(edit)
    parameters = {group["name"]: group["params"][0] for group in model.parameter_groups()}
    for group in optimizer.param_groups:
        (before,), after = group["params"], parameters[group["name"]]
        state = optimizer.state.pop(before, {})
        group["params"] = [after]
        if state:
            optimizer.state[after] = {key: _moved(value, edit, group["name"]) for key, value in state.items()}


def _moved(value: Tensor, edit: Edit, name: str) -> Tensor:
    """An optimiser's tensor behind the edit; its count of steps, which has no rows, stays."""
    if value.ndim == 0:
        return value
    if name in edit.forget:
        return torch.zeros_like(value if edit.rows is None else value[edit.rows])
    value = value if edit.rows is None else value[edit.rows]
    if edit.fresh is None:
        return value
    return value.masked_fill(edit.fresh.view(-1, *[1] * (value.ndim - 1)), 0)
