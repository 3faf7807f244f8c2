"""Stay near the depth that was measured before training, as closely as the measurement is certain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.terms import Context


@runtime_checkable
class MeasuredDepths(Protocol):
    """Gaussians on rays whose depth was measured, and how surely."""

    def depth_residuals(self) -> Float[Tensor, "N"]:
        """Log of the depth over the measured one, in standard deviations of the measurement."""
        ...


@dataclass(frozen=True)
class DepthAnchor:
    """Huber of the log-depth residual of a pixel-aligned model, over its predicted standard deviation."""

    needs: ClassVar[type] = MeasuredDepths

    weight: float = 0.0
    """Weight of staying near the measured depth; it fades to 0 over the run."""

    def __call__(self, context: Context) -> Tensor:
        residuals = context.model.depth_residuals()
        return (1 - context.progress) * torch.nn.functional.huber_loss(residuals, torch.zeros_like(residuals))
