"""How well a picture follows words, by the network's own judgement."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .model import DiffusionModel
from .pasting import padded, touched

PURPOSE = "judge"
U_LEVELS = (0.7, 0.8, 0.9)
"""Raw noise fractions at which the network is asked: at less noise a picture shows its colours itself, and words say
nothing more."""


@torch.no_grad()
def agreement(
    model: DiffusionModel,
    picture: Float[Tensor, "H W 3"],
    mask: Bool[Tensor, "H W"],
    prompt: str,
    without: str,
    seed: int = 0,
) -> float:
    """By how much the picture's noise inside the mask is better predicted with the prompt than with the one without
    the words in question (a diffusion classifier); above 0, it shows what they say."""
    step = model.factor * model.family.packing(model.pipe)
    wide, wide_mask = padded(picture, step), padded(mask[..., None].float(), step)[..., 0] > 0.5
    z = model.encode(wide[None])
    inside = touched(wide_mask, model.factor).to(z).expand_as(z)
    text, gains = model.text([without, prompt]), []
    with model.counting(PURPOSE):
        for number, u in enumerate(U_LEVELS):
            level = model.sigma(u, (z.shape[-2], z.shape[-1]))
            noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(seed + number)).to(z)
            kept, share = model.shares(torch.tensor([level], device=z.device))
            noisy = (kept * z + share * noise).expand(2, -1, -1, -1)
            levels = torch.full((2,), level, device=z.device)
            clean, guess = model.split(noisy, levels, model.predict(noisy, levels, text))
            # of the velocity, whatever the network predicts: its size hardly depends on the level
            errors = ((guess - clean - noise + z).square() * inside).sum((1, 2, 3)) / inside.sum().clamp(min=1)
            gains.append(float(errors[0] - errors[1]))
    return sum(gains) / len(gains)
