"""The noise path of flow models: raw fraction u in (0, 1], noise level sigma = s u / (1 + (s - 1) u) with shift s."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

from jaxtyping import Float
from torch import Tensor

Number = TypeVar("Number", float, Tensor)

SHIFT = 3.0
"""Of SD3."""
MAP_PATH = (0.020, 0.156, 0.292, 0.428)
"""u of the four calls by which part maps are made; the maps are those of the last one (RoMaP's release)."""


def sigma_of(u: Number, shift: float = SHIFT) -> Number:
    return shift * u / (1 + (shift - 1) * u)


def climb(
    velocity: Callable[[Tensor, float], Tensor],
    latents: Float[Tensor, "n c h w"],
    noise: Float[Tensor, "#n c h w"],
    sigmas: Sequence[float],
    gamma: float,
) -> Float[Tensor, "n c h w"]:
    """From clean latents up to the last of the noise levels, with one call of the network at each level before it.

    The share gamma of the velocity leads straight to `noise`: all pictures that share it stay alike (RF inversion).
    """
    z = (1 - sigmas[0]) * latents + sigmas[0] * noise
    for sigma, following in pairwise(sigmas):
        v = velocity(z, sigma)
        z = z + (v + gamma * ((noise - z) / (1 - sigma) - v)) * (following - sigma)
    return z
