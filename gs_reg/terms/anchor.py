"""Stay near the depth that was measured before training, as closely as the measurement is certain."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gs_reg.terms import Context


@dataclass(frozen=True)
class DepthAnchor:
    """Huber of the log-depth residual of a pixel-aligned model, over its predicted standard deviation."""

    weight: float = 0.0
    """Weight of staying near the measured depth; it fades to 0 over the run."""

    def __call__(self, context: Context) -> Tensor:
        residual = context.model.depths().log() - context.model.start.log()
        normalised = residual / context.model.spread
        return (1 - context.progress) * torch.nn.functional.huber_loss(normalised, torch.zeros_like(normalised))
