"""The graph of an avatar's Gaussians: nearest neighbours in the canonical frame that move together."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.neighbors import gaussian_weights, nearest


def neighborhood(means: Float[Tensor, "N 3"], k: int) -> tuple[Int[Tensor, "N k"], Float[Tensor, "N k"]]:
    index, distances = nearest(means.detach(), k)
    return index, gaussian_weights(distances)
