"""Photos that show the same point should have it in the same place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.terms import Context
from gs_reg.types import Splats


@runtime_checkable
class FlowMatches(Protocol):
    """Gaussians on rays, with matches of their pixels in other photos."""

    def match_errors(self, splats: Splats) -> tuple[Float[Tensor, "N J"], Float[Tensor, "N J"]]:
        """How far each Gaussian lies from its matches, in pixels of the other photos (0 where there is no match), and
        what a match is worth in pixels (0 = no match)."""
        ...


@dataclass(frozen=True)
class FlowConsistency:
    """Huber (1 px) of how far each Gaussian on a ray lies from its flow matches, in pixels of the other photos.

    Published in world units, where far and noisy matches count most and pull the scene nearer.
    """

    needs: ClassVar[type] = FlowMatches

    weight: float = 0.0
    """Weight of landing on the flow's matches in the other photos."""

    def __call__(self, context: Context) -> Tensor:
        errors, pixels = context.model.match_errors(context.splats)
        total = torch.nn.functional.huber_loss(errors, torch.zeros_like(errors), reduction="sum")
        return total / (pixels > 0).sum().clamp_min(1)
