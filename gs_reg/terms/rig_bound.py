"""Gaussians that are bound to triangles stay near them, and small: a far one would move with a wrong triangle."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from gs_reg.terms import Context
from gs_reg.terms.photometric import L1, Ssim


@dataclass(frozen=True)
class LocalPosition:
    """Mean length of the positions in the triangles' frames, where it is above `free`."""

    weight: float = 0.01
    """Weight of the distance to the triangle."""
    free: float = 1.0
    """In units of the triangle's size: so far away costs nothing."""

    def __call__(self, context: Context) -> Tensor:
        lengths = (context.splats.extra["local"].square().sum(1) + 1e-12).sqrt()
        return (lengths - self.free).clamp_min(0).mean()


@dataclass(frozen=True)
class LocalScale:
    """Mean scale in the triangles' frames, where it is above `free`."""

    weight: float = 1.0
    """Weight of the size."""
    free: float = 0.6
    """In units of the triangle's size: so large costs nothing."""

    def __call__(self, context: Context) -> Tensor:
        return (context.splats.extra["local_scales"] - self.free).clamp_min(0).mean()


@dataclass(frozen=True)
class RigBoundTerms:
    l1: L1 = L1(0.8)
    ssim: Ssim = Ssim(0.2)
    position: LocalPosition = field(default_factory=LocalPosition)
    scale: LocalScale = field(default_factory=LocalScale)
