"""Where a word looks in the picture: maps of part names from the recorded attention, and losses that teach them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .networks import Networks
from .schedule import MAP_PATH, climb, sigma_of

TAU = 0.2
LARGEST_EXPONENT = 80.0
"""Of sharpening: e to it still fits into a float32."""
SUPERVISED_BELOW = 0.85
"""Noise level above which maps are not supervised: there is nothing to see."""


def raw_maps(networks: Networks, spans: Float[Tensor, "n L T"], blocks: Sequence[int]) -> Float[Tensor, "n L N"]:
    """Query of the words times key of the image, mean over heads and over the tokens of a part, sum over blocks."""
    words = F.pad(spans, (0, 1))  # the row of zeros belongs to no part
    records = [networks.records[block] for block in blocks]
    heads = networks.config.heads
    return sum((word_products(words, r.text_q, r.image_k, heads) for r in records), torch.zeros(()))


def word_products(
    words: Float[Tensor, "n L T"], text_q: Float[Tensor, "n T C"], image_k: Float[Tensor, "n N C"], heads: int
) -> Float[Tensor, "n L N"]:
    """Attention before softmax: mean over heads, and over the tokens of each part as `words` weighs them."""
    # the sum over the heads' channels is the sum over heads; no matrix of all tokens and keys is made
    return (words @ text_q) @ image_k.mT / (heads * math.sqrt(text_q.shape[-1] // heads))


def min_max(maps: Float[Tensor, "*B N"]) -> Float[Tensor, "*B N"]:
    """From 0 to 1 over the last axis; a constant map is 0."""
    low, high = maps.amin(-1, keepdim=True), maps.amax(-1, keepdim=True)
    return (maps - low) / (high - low).clamp(min=1e-6)


def sharpened(maps: Float[Tensor, "*B N"], tau: float | Float[Tensor, "*#B 1"]) -> Float[Tensor, "*B N"]:
    """(e^(a / tau) - 1) / (e^(1 / tau) - 1) of maps a from 0 to 1; the smaller tau, the tighter.

    It equals the softmax over all pixels at temperature tau, and then min-max.
    """
    rate = (1 / torch.as_tensor(tau, dtype=maps.dtype, device=maps.device)).clamp(max=LARGEST_EXPONENT)
    return torch.expm1(maps * rate) / torch.expm1(rate)


def exclusive(maps: Float[Tensor, "n L *S"]) -> Float[Tensor, "n L+1 *S"]:
    """Shares of the background, which comes first, and of parts that sum to 1, from maps between 0 and 1."""
    squares = torch.cat([1 - maps.amax(1, keepdim=True), maps], 1).square()
    # a part of 0.5 or less leaves the background 0.25 at least, a greater one has that itself: never 0 / 0
    return squares / squares.sum(1, keepdim=True)


def map_loss(
    maps: Float[Tensor, "n L N"],
    spans: Float[Tensor, "n L T"],
    cover: Float[Tensor, "n L N"],
    sigmas: Float[Tensor, "n"],
) -> Float[Tensor, ""]:
    """Cross-entropy of the exclusive maps with the share of each part in each token, small parts weighted up, and of
    each raw map over the tokens. Parts that are not named or not seen count as background."""
    named = ((spans.sum(-1) > 0) & (cover.sum(-1) > 0.5)).to(maps)
    cover = cover * named[..., None]
    target = torch.cat([1 - cover.sum(1, keepdim=True), cover], 1)
    weights = target / target.sum(-1, keepdim=True).clamp(min=1).sqrt()
    exclusive_maps = exclusive(sharpened(min_max(maps), TAU) * named[..., None])
    shares = -(weights * torch.log(exclusive_maps + 1e-3)).sum((1, 2)) / weights.sum((1, 2))
    over_tokens = -(cover / cover.sum(-1, keepdim=True).clamp(min=1e-6) * F.log_softmax(maps, -1)).sum(-1)
    over_tokens = (over_tokens * named).sum(1) / named.sum(1).clamp(min=1)
    counts = ((sigmas < SUPERVISED_BELOW) & (named.sum(1) > 0)).to(maps)
    return ((shares + 0.2 * over_tokens) * counts).sum() / counts.sum().clamp(min=1)


def binding_loss(
    networks: Networks, phrases: Float[Tensor, "n L T"], cover: Float[Tensor, "n L N"], blocks: Sequence[int]
) -> Float[Tensor, ""]:
    """Cross-entropy of where image tokens look among the words: at the words about their part, colours included."""
    target = (cover * (phrases.sum(-1, keepdim=True) > 0)).mT @ phrases
    total = torch.zeros(())
    for block in blocks:
        r = networks.records[block]
        total = total - (target * F.log_softmax(r.image_q @ r.text_k[:, :-1].mT / networks.scale, -1)).sum()
    return total / target.sum().clamp(min=1) / len(blocks)


@torch.no_grad()
def walk(
    networks: Networks,
    latents: Float[Tensor, "n 16 h w"],
    text: tuple[Tensor, Tensor],
    path: Sequence[float] = MAP_PATH,
    gamma: float = 0.5,
    seed: int = 0,
) -> None:
    """Calls the network along the noise path from clean latents; `records` are those of the last call.

    Half of the velocity leads to one noise that all pictures share (RF inversion), so that views agree.
    """
    noise = shared_noise(latents, seed)
    sigmas = [sigma_of(u) for u in path]
    z = climb(lambda z, sigma: networks(z, z.new_full((len(z),), sigma), text), latents, noise, sigmas, gamma)
    networks(z, z.new_full((len(z),), sigmas[-1]), text)


def shared_noise(latents: Float[Tensor, "n c h w"], seed: int) -> Float[Tensor, "1 c h w"]:
    """The noise that belongs to a seed, the same for all pictures of one size."""
    return torch.randn(1, *latents.shape[1:], generator=torch.Generator().manual_seed(seed)).to(latents)
