"""The render should look like the photo."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gs_reg.terms import Context


@dataclass(frozen=True)
class L1:
    """Mean absolute difference of colours."""

    weight: float = 0.8
    """Weight of the mean absolute colour difference."""

    def __call__(self, context: Context) -> Tensor:
        return context.l1_and_dssim[0]


@dataclass(frozen=True)
class Ssim:
    """1 - SSIM (11x11 Gaussian window of sigma 1.5, zero padding)."""

    weight: float = 0.2
    """Weight of 1 - SSIM."""

    def __call__(self, context: Context) -> Tensor:
        return context.l1_and_dssim[1]
