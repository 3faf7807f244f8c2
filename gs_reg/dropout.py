"""Every step leaves some Gaussians out at random, so that none relies on the others around it.

What is drawn and exported afterwards has every opacity times the share that was kept. Published for few views by
DropGaussian (CVPR 2025) and by the co-adaptation study of Chen et al. (2025), whose constant share this is.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from gs_reg.types import Splats

GONE = -30.0
"""Opacity logit of a Gaussian that is left out: far below any alpha_min."""


def dropped(splats: Splats, share: float, step: int, seed: int) -> Splats:
    """The splats with a random `share` of them invisible; step and seed alone decide which."""
    if share == 0:
        return splats
    generator = torch.Generator().manual_seed(1_000_003 * seed + 2 * step + 1)
    kept = (torch.rand(len(splats), generator=generator) >= share).to(splats.means.device)
    logits = splats.opacity_logits
    return replace(splats, opacity_logits=torch.where(kept, logits, torch.full_like(logits, GONE)))


def baked(splats: Splats, share: float) -> Splats:
    """The splats as they are drawn when none is left out: the expected opacity."""
    if share == 0:
        return splats
    return replace(splats, opacity_logits=(splats.opacities * (1 - share)).logit())
