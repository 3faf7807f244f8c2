"""Score distillation inside a mask: RFDS-Rev for flow models (rectified flow prior), plain SDS for the others."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.errors import InputError

from .families.base import Text
from .model import DiffusionModel
from .pasting import mostly

PURPOSE = "sds"
COARSE_GUIDANCE = 20.0
"""Above it, bfloat16 rounds the guided prediction by a fifth of its size and more."""


@dataclass(frozen=True)
class SdsConfig:
    """How strongly and at which noise a network judges renders."""

    guidance: float = 30.0
    rescale: float = 0.7
    """Share by which the guided prediction gets the spread of the prompted one back."""
    u_low: float = 0.02
    """Raw noise fractions are drawn from here ..."""
    u_high: float = 0.70
    """... to here at the beginning ..."""
    u_end: float = 0.28
    """... and to here at the end."""

    def highest(self, progress: float) -> float:
        """`progress`: 0..1."""
        return self.u_high + (self.u_end - self.u_high) * progress


def sds_loss(
    model: DiffusionModel,
    pictures: Float[Tensor, "B H W 3"],
    masks: Bool[Tensor, "B H W"],
    text: Text,
    null: Text,
    config: SdsConfig = SdsConfig(),
    *,
    generator: torch.Generator,
    progress: float = 0.0,
) -> Float[Tensor, ""]:
    """Its gradient by the latents is 2 (v + z - noise) * mask / n / B for flow models, n entries being in the masks.

    `null`: the negative prompt. The generator is on the CPU. 0 where nothing is in the masks.

    Raises:
        InputError: bfloat16 with strong guidance, which drowns in rounding.
    """
    if model.dtype == torch.bfloat16 and config.guidance > COARSE_GUIDANCE:
        raise InputError(
            f"guidance {config.guidance:g} in bfloat16 is mostly rounding: float16, or at most {COARSE_GUIDANCE:g}"
        )
    z = model.encode(pictures.clamp(0, 1))
    count = len(z)
    draws = torch.rand(count, generator=generator)
    high = max(config.highest(progress), config.u_low)
    size = (z.shape[-2], z.shape[-1])
    u = [config.u_low + (high - config.u_low) * float(draw) for draw in draws]
    levels = torch.tensor([model.sigma(value, size) for value in u], device=z.device)
    noise = torch.randn(z.shape, generator=generator).to(z)
    with model.counting(PURPOSE), torch.no_grad():
        pull = _pull(model, z.detach(), noise, levels, text, null, config)
    mask = mostly(masks, model.factor).to(z).expand_as(z)
    # the square of (z - what z should be), whose gradient is 2 * pull
    residual = (z - (z.detach() - pull)).square() * mask
    return residual.sum() / mask.sum().clamp(min=1) / count


def _pull(
    model: DiffusionModel,
    z: Float[Tensor, "B c h w"],
    noise: Float[Tensor, "B c h w"],
    levels: Float[Tensor, "B"],
    text: Text,
    null: Text,
    config: SdsConfig,
) -> Float[Tensor, "B c h w"]:
    """From where the latents should be to where they are."""
    kept, share = model.shares(levels)
    if model.kind == "flow":
        noise = reversed_noise(model, z, noise, levels, null)
        v = model.guided(kept * z + share * noise, levels, text, null, config.guidance, config.rescale)
        return v + z - noise
    noisy = kept * z + share * noise
    guided = model.guided(noisy, levels, text, null, config.guidance, config.rescale)
    return share**2 * (model.split(noisy, levels, guided)[1] - noise)


def reversed_noise(
    model: DiffusionModel,
    z: Float[Tensor, "B c h w"],
    noise: Float[Tensor, "B c h w"],
    levels: Float[Tensor, "B"],
    null: Text,
) -> Float[Tensor, "B c h w"]:
    """The noise that the flow itself leads to from the noisy latents: one Euler step to pure noise."""
    kept, share = model.shares(levels)
    noisy = kept * z + share * noise
    return noisy + kept * model.predict(noisy, levels, null)
