"""Bumps about points of a head: what a field reads that moves each part of it by sums of smooth, local motions."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

EDGE, SHARP = 0.15, 32.0
"""Squared distance of latent vectors from which a bump falls, and how steeply, for each of their entries; those of two
parts are 0.5 or 1 apart an entry (`first_latents`), so that training may move them a little."""


class Bumps(nn.Module):
    """Gaussians in position that only points with a similar latent vector see, so that lips do not see each other.

    They are where `place` puts them, and are not trained; `mix` makes features of them. Far from all of them everything
    is 0.
    """

    centers: Tensor
    latents: Tensor
    radii: Tensor

    def __init__(self, count: int, latent: int, features: int):
        super().__init__()
        self.mix = nn.Parameter(torch.randn(count, features) / math.sqrt(count))
        self.register_buffer("centers", torch.zeros(count, 3))
        self.register_buffer("latents", torch.zeros(count, latent))
        self.register_buffer("radii", torch.ones(count))

    @torch.no_grad()
    def place(self, centers: Float[Tensor, "M 3"], latents: Float[Tensor, "M L"], radii: Float[Tensor, "M"]) -> None:
        self.centers.copy_(centers)
        self.latents.copy_(latents)
        self.radii.copy_(radii)

    def forward(self, x: Float[Tensor, "N 3"], latent: Float[Tensor, "N L"]) -> Float[Tensor, "N M"]:
        return heights(x, latent, self.centers, self.latents, self.radii)

    def slopes(
        self, values: Float[Tensor, "N M"], x: Float[Tensor, "N 3"], weight: Float[Tensor, "*B M O"]
    ) -> Float[Tensor, "*B 3 N O"]:
        """Derivatives by the position of `values @ weight`, in one product with no tangent of each bump."""
        scaled = weight / self.radii[:, None].square()
        columns = torch.cat([scaled, *(scaled * self.centers[:, axis : axis + 1] for axis in range(3))], dim=-1)
        level, *pulls = (values @ columns).chunk(4, dim=-1)
        return torch.stack([pull - x[:, axis : axis + 1] * level for axis, pull in enumerate(pulls)], dim=-3)


def heights(
    x: Float[Tensor, "N 3"],
    latent: Float[Tensor, "N L"],
    centers: Float[Tensor, "M 3"],
    latents: Float[Tensor, "M L"],
    radii: Float[Tensor, "M"],
) -> Float[Tensor, "N M"]:
    """Of each bump at each point: the exponential of two products, since differences of all pairs take many times as
    long."""
    size = max(latent.shape[1], 1)
    halves = 0.5 / radii.square()
    ones = x.new_ones(len(x), 1)
    near = torch.cat([x, x.square().sum(1, keepdim=True), ones], dim=1)
    place = torch.cat([2 * centers, -torch.ones_like(centers[:, :1]), -centers.square().sum(1, keepdim=True)], dim=1)
    like = torch.cat([latent, latent.square().sum(1, keepdim=True), ones], dim=1)
    apart = latents.square().sum(1, keepdim=True) - EDGE * size
    part = torch.cat([-2 * latents, torch.ones_like(apart), apart], dim=1) * (SHARP / size)
    return torch.exp(torch.addmm(-torch.relu(like @ part.T), near, (place * halves[:, None]).T).clamp_max(0))
