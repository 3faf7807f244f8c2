"""SLaMP: a part of a picture is made anew from its own inversion (RoMaP, Algorithm 2 and Eq. 4; values ours).

Written in the clean latents and the noise that a prediction means, so that flow models (RF inversion) and the others
(DDIM inversion) take the same path: z is their sum in the shares of its level.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .model import DiffusionModel
from .pasting import padded, paste, touched
from .reference import attending_to_the_first, has_joint_attention

PURPOSE = "slamp"


@dataclass(frozen=True)
class SlampConfig:
    """How a picture is edited inside a mask."""

    steps: int = 20
    """Of the inversion, and again of the generation."""
    faithful: float = 0.35
    """Share of the steps, the last ones, after which everything outside the mask is set to the source: low is
    drastic."""
    gamma: float = 0.5
    """Pull of the inversion towards the seeded noise, 0 to 1."""
    guidance: float = 6.0
    eta: float = 0.9
    """Pull of the first steps to the source outside the mask, 0 to 1."""
    eta_inside: float = 0.0
    """The same inside the mask."""
    eta_share: float = 0.25
    """Of the steps, the first ones, that are pulled."""
    alpha_base: float = 0.15
    """Share of the source outside the mask after the other steps."""
    alpha_last: float = 1.0
    """The same after the last ones."""
    mode: Literal["renoised", "clean"] = "renoised"
    """The source outside the mask: at the step's noise level, or clean as the paper's listing reads."""
    margin: float = 8
    """Pixels at 512 around the mask that may change."""
    feather: float = 4
    """Pixels at 512 of the ramp at their outer edge."""
    ref_attn: bool = True
    """Image tokens also attend to those of the reference, where one is given and the network is SD3's."""


@torch.no_grad()
def slamp(
    model: DiffusionModel,
    picture: Float[Tensor, "H W 3"],
    mask: Bool[Tensor, "H W"],
    prompt: str,
    config: SlampConfig = SlampConfig(),
    *,
    seed: int,
    negative: str = "",
    reference: Float[Tensor, "H W 3"] | None = None,
    start: float = 1.0,
) -> Float[Tensor, "H W 3"]:
    """The picture with the mask filled after the prompt; every pixel away from the mask is the picture's.

    `start`: the raw noise fraction up to which it is inverted; below 1 more of what is in the mask stays, in as many
    steps fewer.
    """
    step = model.factor * model.family.packing(model.pipe)
    wide, wide_mask = padded(picture, step), padded(mask[..., None].float(), step)[..., 0] > 0.5
    references = None if reference is None else model.encode(padded(reference, step)[None])
    source = model.encode(wide[None])
    with model.counting(PURPOSE):
        z = regenerate(
            model, source, touched(wide_mask, model.factor), prompt, config, seed, negative, references, start
        )
    made = model.decode(z)[0, : picture.shape[0], : picture.shape[1]].to(picture)
    return paste(made, picture, mask, config.margin, config.feather)


def regenerate(
    model: DiffusionModel,
    source: Float[Tensor, "1 c h w"],
    mask: Float[Tensor, "1 1 h w"],
    prompt: str,
    config: SlampConfig,
    seed: int,
    negative: str = "",
    reference: Float[Tensor, "1 c h w"] | None = None,
    start: float = 1.0,
) -> Float[Tensor, "1 c h w"]:
    """Latents of the edited picture, not pasted."""
    steps = max(1, round(config.steps * start))
    levels = [model.sigma(start * k / steps, (source.shape[-2], source.shape[-1])) for k in range(steps + 1)]
    noise = torch.randn(source.shape, generator=torch.Generator().manual_seed(seed)).to(source)
    attends = reference is not None and config.ref_attn and has_joint_attention(model.network)
    mask = mask.to(source)
    z = invert(model, source, noise, levels, config.gamma)
    last = round(config.faithful * steps)
    eta = config.eta * (1 - mask) + config.eta_inside * mask
    for i in range(steps):
        now, after = levels[steps - i], levels[steps - i - 1]
        seen = _noisy(model, reference, noise, now) if attends and reference is not None else None
        clean, noisy = _estimate(model, z, now, prompt, negative, config.guidance, seen)
        if i < config.eta_share * steps:
            kept, share = _shares(model, now)
            clean, noisy = clean + eta * (source - clean), noisy + eta * ((z - kept * source) / share - noisy)
        kept, share = _shares(model, after)
        z = kept * clean + share * noisy
        alpha = config.alpha_last if i >= steps - last else config.alpha_base
        outside = source if config.mode == "clean" else kept * source + share * noise
        z = z + alpha * (1 - mask) * (outside - z)
    return z


def invert(
    model: DiffusionModel,
    source: Float[Tensor, "1 c h w"],
    noise: Float[Tensor, "1 c h w"],
    levels: list[float],
    gamma: float,
) -> Float[Tensor, "1 c h w"]:
    """Up the noise path with the empty prompt, with a pull of `gamma` towards the noise."""
    z, null = source, model.text([""])
    for now, after in pairwise(levels):
        kept, share = _shares(model, now)
        level = torch.full((1,), now, device=z.device)
        clean, noisy = model.split(z, level, model.predict(z, level, null))
        clean, noisy = clean + gamma * ((z - share * noise) / kept - clean), noisy + gamma * (noise - noisy)
        kept, share = _shares(model, after)
        z = kept * clean + share * noisy
    return z


def _estimate(
    model: DiffusionModel,
    z: Float[Tensor, "1 c h w"],
    level: float,
    prompt: str,
    negative: str,
    guidance: float,
    reference: Float[Tensor, "1 c h w"] | None,
) -> tuple[Tensor, Tensor]:
    """Clean latents and noise of the guided prediction; with a reference at the same level in the same batch."""
    levels = torch.full((1,), level, device=z.device)
    if reference is None:
        return model.split(z, levels, model.guided(z, levels, model.text([prompt]), model.text([negative]), guidance))
    with attending_to_the_first(model.network):
        _, without, prompted = model.predict(
            torch.cat([reference, z, z]), level, model.text([prompt, negative, prompt])
        ).split(1)
    return model.split(z, levels, without + guidance * (prompted - without))


def _noisy(model: DiffusionModel, latents: Tensor, noise: Tensor, level: float) -> Tensor:
    kept, share = _shares(model, level)
    return kept * latents + share * noise


def _shares(model: DiffusionModel, level: float) -> tuple[float, float]:
    kept, share = model.shares(torch.tensor([level], dtype=torch.float64))
    return float(kept), float(share)
