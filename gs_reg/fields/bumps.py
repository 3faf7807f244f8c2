"""Bumps about points of a head: what a field reads that moves each part of it by sums of smooth, local motions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gs_reg import _ops

EDGE, SHARP = 0.15, 32.0
"""Squared distance of latent vectors from which a bump falls, and how steeply, for each of their entries; those of two
parts are 0.5 or 1 apart an entry (`first_latents`), so that training may move them a little."""

FAINT = 10.0
"""Of exp(-x): what is fainter is left out, which changes no offset of a head by more than about a micrometre."""
FAINTER = 14.0
"""The same for our kernel, which chooses for each point alone."""


class Bumps(nn.Module):
    """Gaussians in position that only points with a similar latent vector see, so that lips do not see each other.

    They are where `place` puts them, and are not trained; `mix` makes features of them (see `near`). Far from all of
    them everything is 0.
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

    def near(self, x: Float[Tensor, "N 3"], latent: Float[Tensor, "N L"]) -> Nearby:
        """Those that some point may see; of points of one part, in Morton order, that is a small share of them.

        All of them on a GPU, which waits for the choice longer than the others take, and in float64, to be exact.
        """
        if x.device.type != "cpu" or x.dtype != torch.float32 or not len(x):
            return Nearby(self.centers, self.latents, self.radii, self.mix)
        size = max(latent.shape[1], 1)
        away = _beside(x.detach(), self.centers) / self.radii.square()
        apart = (_beside(latent.detach(), self.latents) / size - EDGE).clamp_min(0)
        rows = (0.5 * away + SHARP * apart < FAINT).nonzero()[:, 0]
        return Nearby(self.centers[rows], self.latents[rows], self.radii[rows], self.mix[rows])

    def blended(
        self, x: Float[Tensor, "N 3"], latent: Float[Tensor, "N L"], weight: Float[Tensor, "*B M O"], slopes: bool
    ) -> tuple[Float[Tensor, "*B N O"], Float[Tensor, "*B 3 N O"] | None]:
        """Heights times weights by our kernel, and their derivatives by the position, which have no gradient."""
        batch, outputs = weight.shape[:-2], weight.shape[-1]
        flat = weight.reshape(-1, *weight.shape[-2:]).movedim(0, 1).flatten(1)
        bumps = self.centers, self.latents, self.radii, flat
        values, derivatives = _ops.bumps(x, latent, *bumps, slopes, EDGE, SHARP, FAINTER)
        values = values.unflatten(1, (-1, outputs)).movedim(1, 0).reshape(*batch, len(x), outputs)
        if not slopes:
            return values, None
        derivatives = derivatives.unflatten(2, (-1, outputs)).movedim(2, 0)
        return values, derivatives.reshape(*batch, 3, len(x), outputs)


def fits_kernel(x: Tensor, latent: Tensor) -> bool:
    """Whether our kernel takes these points: of float32, with latent vectors that need no gradient."""
    plain = x.dtype == torch.float32 and _ops.is_native(x, latent) and not torch._C._are_functorch_transforms_active()
    return plain and not (latent.requires_grad and torch.is_grad_enabled())


def _beside(points: Float[Tensor, "N D"], others: Float[Tensor, "M D"]) -> Float[Tensor, "M"]:
    """Squared distances of the others from the box around the points."""
    if not points.shape[1]:
        return others.new_zeros(len(others))
    low, high = points.amin(0), points.amax(0)
    return ((low - others).clamp_min(0) + (others - high).clamp_min(0)).square().sum(1)


@dataclass(frozen=True)
class Nearby:
    """Some bumps."""

    centers: Float[Tensor, "M 3"]
    latents: Float[Tensor, "M L"]
    radii: Float[Tensor, "M"]
    mix: Float[Tensor, "M F"]

    def heights(self, x: Float[Tensor, "N 3"], latent: Float[Tensor, "N L"]) -> Float[Tensor, "N M"]:
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
    return _Heights.apply(near, (place * halves[:, None]).T, like, part.T)


class _Heights(torch.autograd.Function):
    """exp(min(near @ place - relu(like @ part), 0)), whose derivatives need no more than the result and a mask."""

    @staticmethod
    def forward(ctx, near: Tensor, place: Tensor, like: Tensor, part: Tensor) -> Tensor:
        apart = like @ part
        values = torch.addmm(apart.relu_(), near, place, beta=-1).clamp_max_(0).exp_()
        ctx.save_for_backward(values, apart > 0, place, part)
        return values

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None, Tensor, None]:
        values, other, place, part = ctx.saved_tensors
        pull = gradients[0] * values
        near = pull @ place.T
        return near, None, -(pull.mul_(other) @ part.T), None
