"""Structural changes of Gaussians (clone, split, prune, relocate ...): each is one Edit, which moves a model's rows and
its optimiser's state together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

Axis = Literal["gaussians", "frames"]
"""What the rows of a parameter stand for."""


@dataclass(frozen=True)
class Edit:
    """M rows made from N: rows are gathered first, then some columns get new values."""

    rows: Int[Tensor, "M"] | None = None
    """Which old row each new one starts as; None = the same ones in place."""
    fresh: Bool[Tensor, "M"] | None = None
    """Those whose optimiser state starts anew; None = none."""
    patch: Mapping[str, Tensor] = field(default_factory=dict)
    """New values by column of Splats, M rows each."""
    forget: frozenset[str] = frozenset()
    """Parameter groups whose optimiser state starts anew in every row."""
    axis: Axis = "gaussians"
    """The axis that it changes; parameters of other axes stay as they are."""

    def moved(self, state: Tensor, group: str) -> Tensor:
        """The optimiser state of a group's tensor behind this edit; a count of steps, which has no rows, stays."""
        if state.ndim == 0:
            return state
        state = state if self.rows is None else state[self.rows]
        if group in self.forget:
            return torch.zeros_like(state)
        if self.fresh is None:
            return state
        return state.masked_fill(self.fresh.view(-1, *[1] * (state.ndim - 1)), 0)
