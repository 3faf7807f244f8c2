"""Depth supervision by the depth that was measured before training, weighted by its certainty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.terms import Context


@runtime_checkable
class MeasuredDepths(Protocol):
    """Gaussians on rays whose depth was measured, with its standard deviation."""

    def depth_residuals(self) -> Float[Tensor, "N"]:
        """log(depth / measured depth) in standard deviations of the measurement."""
        ...


@dataclass(frozen=True)
class DepthAnchor:
    """Huber loss of log-depth residuals, which are in standard deviations; the weight falls linearly to 0."""

    needs: ClassVar[type] = MeasuredDepths

    weight: float = 0.0
    """Weight of the distance to the measured depth; it falls to 0 over the run."""

    def __call__(self, context: Context) -> Tensor:
        residuals = context.model.depth_residuals()
        return (1 - context.progress) * torch.nn.functional.huber_loss(residuals, torch.zeros_like(residuals))
