"""Multi-view consistency: pixels that flow matches should be the same point in space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.sums import ordered_sum
from gs_reg.terms import Context
from gs_reg.types import Splats


@runtime_checkable
class FlowMatches(Protocol):
    """Gaussians on rays, with matches of their pixels in other photos."""

    def match_errors(self, splats: Splats) -> tuple[Float[Tensor, "N J"], Float[Tensor, "N J"]]:
        """Distances to the matches in pixels of the other photos, and the pixels that the projection moves per unit of
        inverse depth; both are 0 where there is no match."""
        ...


@dataclass(frozen=True)
class FlowConsistency:
    """Huber loss (1 px) of the distance from projected Gaussians to their flow matches, mean over the matches.

    CoherentGS measures it in world units. There, far and noisy matches count most and pull the scene nearer.
    """

    needs: ClassVar[type] = FlowMatches

    weight: float = 0.0
    """Weight of the distance to the flow matches in the other photos."""

    def __call__(self, context: Context) -> Tensor:
        errors, pixels = context.model.match_errors(context.splats)
        each = torch.nn.functional.huber_loss(errors, torch.zeros_like(errors), reduction="none")
        return ordered_sum(each) / (pixels > 0).sum().clamp_min(1)
