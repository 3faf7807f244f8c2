"""Gaussians left out at random in every step, so that none relies on the others around it.

What is drawn and exported afterwards has every opacity times the share that was kept. Published for few views by
DropGaussian (CVPR 2025) and by the co-adaptation study of Chen et al. (2025), whose constant share this is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from gs_reg.types import Splats

OPACITY_LOGIT = -30.0
"""Of a Gaussian that is left out: far below any alpha_min. Its row stays, as gradients and visibility are by row."""


@dataclass(frozen=True)
class Dropout:
    share: float
    """Share of the Gaussians that a step leaves out; below 1."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"dropout: expected a share from 0 to below 1, got {self.share}")

    def drop(self, splats: Splats, step: int) -> Splats:
        """The splats of a training step, a random share of them invisible; step and seed alone decide which."""
        if self.share == 0:
            return splats
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + 2 * step + 1)
        kept = (torch.rand(len(splats), generator=generator) >= self.share).to(splats.means.device)
        logits = splats.opacity_logits
        return replace(splats, opacity_logits=torch.where(kept, logits, torch.full_like(logits, OPACITY_LOGIT)))

    def bake(self, splats: Splats) -> Splats:
        """The splats as they are drawn when none is left out: with their expected opacity."""
        if self.share == 0:
            return splats
        return replace(splats, opacity_logits=(splats.opacities * (1 - self.share)).logit())
