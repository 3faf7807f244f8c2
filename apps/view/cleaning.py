"""Rows of splats that a user keeps: inside a box, opaque enough, small enough, not astray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.neighbors import nearest
from gs_reg.rotations import quat_to_rotmat
from gs_reg.types import Splats

NEIGHBORS = 8


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


def strayness(splats: Splats) -> Float[Tensor, "N"]:
    """How far each splat's surroundings are, in units of what is usual: the mean distance of its 8 nearest neighbours
    over the median of all. Floaters, which are alone, have much; infinity for what is not finite."""
    good = splats.means.isfinite().all(1)
    out = splats.means.new_full((len(splats),), torch.inf)
    k = min(NEIGHBORS, int(good.sum()) - 1)
    if k < 1:
        return torch.where(good, 0.0, out)
    distances = nearest(splats.means[good], k)[1].sqrt().mean(1)
    out[good] = distances / distances.median().clamp_min(1e-12)
    return out
