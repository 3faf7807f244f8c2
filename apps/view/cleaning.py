"""Rows of splats that a user keeps: inside a box, and by the rules of `gs-reg clean`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.clean import CleanRules, removals
from gs_reg.rotations import quat_to_rotmat
from gs_reg.types import Splats


@dataclass(frozen=True)
class Box:
    wxyz: Sequence[float]
    """From the box's axes to the world's."""
    middle: Sequence[float]
    sides: Sequence[float]

    @staticmethod
    def around(means: Float[Tensor, "M 3"]) -> Box:
        """Holds 98 % along each axis, with a little room."""
        low, high = (torch.stack([axis.quantile(q) for axis in means.T]) for q in (0.01, 0.99))
        sides = (1.1 * (high - low)).clamp_min(1e-3)
        return Box((1.0, 0.0, 0.0, 0.0), ((low + high) / 2).tolist(), sides.tolist())

    def holds(self, means: Float[Tensor, "N 3"]) -> Bool[Tensor, "N"]:
        rotation = quat_to_rotmat(means.new_tensor(self.wxyz))
        local = (means - means.new_tensor(self.middle)) @ rotation
        return (local.abs() <= means.new_tensor(self.sides) / 2).all(1)


def kept_rows(splats: Splats, inside: Bool[Tensor, "N"] | None, rules: CleanRules) -> Bool[Tensor, "N"]:
    """Rows that the rules of `gs-reg clean` leave of those inside of the box; None = no box."""
    kept = torch.ones(len(splats), dtype=torch.bool, device=splats.means.device) if inside is None else inside.clone()
    rows = kept.nonzero()[:, 0]
    removed = removals(splats.rows(rows), rules)
    kept[rows[torch.stack(list(removed.values())).any(0)]] = False
    return kept
