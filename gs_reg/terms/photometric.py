"""The render should look like the photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.sums import ordered_sum
from gs_reg.terms import Context


@dataclass(frozen=True)
class L1:
    """Mean absolute difference of colours."""

    needs_views: ClassVar[tuple[str, ...]] = ("images",)

    weight: float = 0.8
    """Weight of the mean absolute colour difference."""

    def __call__(self, context: Context) -> Tensor:
        return context.l1_and_dssim[0]


@dataclass(frozen=True)
class Ssim:
    """1 - SSIM (11x11 Gaussian window of sigma 1.5, zero padding)."""

    needs_views: ClassVar[tuple[str, ...]] = ("images",)

    weight: float = 0.2
    """Weight of 1 - SSIM."""

    def __call__(self, context: Context) -> Tensor:
        return context.l1_and_dssim[1]


@dataclass(frozen=True)
class MultiLevelL1:
    """Mean absolute colour difference on a pyramid of 2x2 means, the levels weighted 1, 1/4, 1/8, 1/16, 1/32."""

    needs_views: ClassVar[tuple[str, ...]] = ("images",)

    weight: float = 0.0
    """Weight of the mean absolute colour difference over a pyramid."""
    levels: int = 5
    """Levels of the pyramid; it ends earlier where a side is down to one pixel."""

    def __call__(self, context: Context) -> Tensor:
        total, level_weight = context.l1_and_dssim[0], 0.25
        difference = (context.image.colors - context.views.photos).movedim(-1, 1)
        covered = torch.ones_like(difference[:, :1])
        if context.views.masks is not None:
            covered = context.views.masks[:, None].to(difference)
            difference = difference * covered
        for _ in range(1, self.levels):
            if min(difference.shape[2:]) == 1:
                break
            difference, covered = _halved(difference), _halved(covered)
            # A cell at a mask's edge is the mean of its pixels inside the mask, weighted by their share of the cell.
            values = (difference.shape[1] * ordered_sum(covered)).clamp_min(1e-12)
            total = total + level_weight * ordered_sum(difference.abs()) / values
            level_weight /= 2
        return total


def _halved(planes: Float[Tensor, "C D H W"]) -> Float[Tensor, "C D h w"]:
    return F.avg_pool2d(planes, 2, ceil_mode=True, count_include_pad=False)
