"""Photos that show the same point should have it in the same place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gs_reg.terms import Context


@dataclass(frozen=True)
class FlowConsistency:
    """Huber (1 px) of how far each Gaussian on a ray lies from its flow matches, in pixels of the other photos.

    Published in world units, where far and noisy matches count most and pull the scene nearer.
    """

    weight: float = 0.0
    """Weight of landing on the flow's matches in the other photos."""

    def __call__(self, context: Context) -> Tensor:
        model = context.model
        w = 1 / model.depths_of(context.splats)
        error = model.match_pixels * (w[:, None] - model.match_inverse_depth)
        total = torch.nn.functional.huber_loss(error, torch.zeros_like(error), reduction="sum")
        return total / (model.match_pixels > 0).sum().clamp_min(1)
