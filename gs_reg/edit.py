"""Structural changes of Gaussians (clone, split, prune, relocate ...) as values.

An Edit is applied to a model and to its optimiser, so the moments always belong to the rows beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

Axis = Literal["gaussians", "part", "frames"]
"""What the rows of a parameter stand for; "part": those Gaussians that an edit of a part may change, and new ones."""


@dataclass(frozen=True)
class Edit:
    """From N rows to M: first a gather of rows, then new values for some columns."""

    rows: Int[Tensor, "M"] | None = None
    """Index of the old row that each new row copies; None = the rows stay."""
    fresh: Bool[Tensor, "M"] | None = None
    """Rows whose optimiser state is zeroed, as clones and relocated Gaussians need; None = none."""
    patch: Mapping[str, Tensor] = field(default_factory=dict)
    """New values by field of Splats, M rows each; written after the gather."""
    reset_groups: frozenset[str] = frozenset()
    """Parameter groups whose optimiser state is zeroed in every row, as after a reset of the opacities."""
    axis: Axis = "gaussians"
    """The axis whose rows change."""

    def apply_to_state(self, state: Tensor, group: str) -> Tensor:
        """One tensor of a group's optimiser state after this edit; torch's step count has no rows and stays."""
        if state.ndim == 0:
            return state
        state = state if self.rows is None else state[self.rows]
        if group in self.reset_groups:
            return torch.zeros_like(state)
        if self.fresh is None:
            return state
        return state.masked_fill(self.fresh.view(-1, *[1] * (state.ndim - 1)), 0)
