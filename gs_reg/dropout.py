"""Dropout of Gaussians: a random share is invisible in every training step, against co-adaptation and overfitting.

At test time every opacity is multiplied by 1 - share, as with dropout in networks. Published for few views by
DropGaussian (CVPR 2025), and by Chen et al. (2025) with a constant share, as here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from gs_reg.errors import InputError
from gs_reg.types import Splats

OPACITY_LOGIT = -30.0
"""Of a dropped Gaussian: far below any alpha_min. Its row stays, as gradients and visibility are by row."""


@dataclass(frozen=True)
class Dropout:
    share: float
    """Probability that a Gaussian is dropped in a step; at least 0, below 1."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise InputError(f"dropout: expected a share from 0 to below 1, got {self.share}")

    def drop(self, splats: Splats, step: int) -> Splats:
        """The splats as a training step renders them; step and seed alone decide which are dropped."""
        if self.share == 0:
            return splats
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + 2 * step + 1)
        # drawn on the CPU, so that every device drops the same ones
        keep = (torch.rand(len(splats), generator=generator) >= self.share).to(splats.means.device)
        logits = splats.opacity_logits
        return replace(splats, opacity_logits=torch.where(keep, logits, torch.full_like(logits, OPACITY_LOGIT)))

    def with_expected_opacity(self, splats: Splats) -> Splats:
        """The splats for test time and export: none dropped, opacities times 1 - share."""
        if self.share == 0:
            return splats
        return replace(splats, opacity_logits=(splats.opacities * (1 - self.share)).logit())
