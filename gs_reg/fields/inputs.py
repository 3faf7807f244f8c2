"""What both fields read: positions by octaves, latents, gates of code groups, and standardised expression codes."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

GATES = 6
"""Groups of code channels that a Gaussian can close: prior, gaze, lids, tongue, jaw, neck."""


def groups_of(dim: int, groups: tuple[int, ...] | None) -> tuple[int, ...]:
    """Sizes of the six groups of a code; None puts all channels into the first.

    Raises:
        ValueError: not six groups, or their sizes are not those of the code.
    """
    groups = (dim, *[0] * (GATES - 1)) if groups is None else groups
    if len(groups) != GATES or sum(groups) != dim or min(groups) < 0:
        raise ValueError(f"groups: expected {GATES} sizes that sum to {dim}, got {groups}")
    return groups


def encode(x: Float[Tensor, "N 3"], octaves: int) -> Float[Tensor, "N E"]:
    """Positions, then sines and then cosines of each octave: E = 3 + 6 octaves."""
    angles = (x[:, None] * _frequencies(x, octaves)[:, None]).flatten(1)
    return torch.cat([x, angles.sin(), angles.cos()], dim=1)


def encode_slopes(x: Float[Tensor, "N 3"], octaves: int) -> Float[Tensor, "N E"]:
    """Derivative of each entry of `encode` along its own axis, which is that of its index modulo 3."""
    frequencies = _frequencies(x, octaves)[:, None]
    angles = x[:, None] * frequencies
    slopes = [(angles.cos() * frequencies).flatten(1), (-angles.sin() * frequencies).flatten(1)]
    return torch.cat([torch.ones_like(x), *slopes], dim=1)


def _frequencies(x: Tensor, octaves: int) -> Tensor:
    return math.pi * 2 ** torch.arange(octaves, dtype=x.dtype, device=x.device)


class CodeScale(nn.Module):
    """Mean and scale by which the channels of a code are standardised; they start as 0 and 1."""

    code_mean: Tensor
    code_scale: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("code_mean", torch.zeros(dim))
        self.register_buffer("code_scale", torch.ones(dim))

    @torch.no_grad()
    def set_codes(self, mean: Float[Tensor, "D"], scale: Float[Tensor, "D"]) -> None:
        """Stores the statistics.

        Raises:
            ValueError: a scale is not above 0.
        """
        if not bool((scale > 0).all()):
            raise ValueError("scale: expected numbers above 0")
        self.code_mean.copy_(mean)
        self.code_scale.copy_(scale)

    def standardised(self, z: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        return (z - self.code_mean) / self.code_scale


class PointLayer(nn.Module):
    """A linear layer of encoded positions and latents."""

    def __init__(self, latent: int, outputs: int, octaves: int):
        super().__init__()
        self.octaves = octaves
        self.point = nn.Linear(3 + 6 * octaves + latent, outputs)

    def features(self, x: Float[Tensor, "N 3"], latent: Float[Tensor, "N L"]) -> Float[Tensor, "N I"]:
        return torch.cat([encode(x, self.octaves), latent], dim=1)

    def slopes(self, x: Float[Tensor, "N 3"]) -> Float[Tensor, "3 N O"]:
        """Derivatives of the outputs by the three axes of the position."""
        slopes, weight = encode_slopes(x, self.octaves), self.point.weight
        size = slopes.shape[1]
        return torch.stack([slopes[:, axis:size:3] @ weight[:, axis:size:3].T for axis in range(3)])


class SplitLayer(PointLayer):
    """The same with gated codes as further inputs, whose part is computed once a frame."""

    def __init__(self, groups: tuple[int, ...], latent: int, outputs: int, octaves: int):
        super().__init__(latent, outputs, octaves)
        self.groups = groups
        bound = 1 / math.sqrt(self.point.in_features + sum(groups))
        self.code = nn.Parameter(torch.empty(outputs, sum(groups)).uniform_(-bound, bound))

    def columns(self, z: Float[Tensor, "*B D"]) -> Float[Tensor, "*B G O"]:
        """What each open group of a standardised code adds to the outputs."""
        parts = zip(z.split(self.groups, -1), self.code.split(self.groups, 1), strict=True)
        return torch.stack([part @ weight.T for part, weight in parts], dim=-2)

    def forward(
        self,
        features: Float[Tensor, "N I"],
        gates: Float[Tensor, "N G"] | None,
        columns: Float[Tensor, "*B G O"],
    ) -> Float[Tensor, "*B N O"]:
        """Outputs for points under each code; gates None are all open."""
        if gates is None:
            return self.point(features) + columns.sum(-2)[..., None, :]
        if columns.ndim > 2:
            return self.point(features) + gates @ columns
        weight = torch.cat([self.point.weight, columns.T], dim=1)  # one product for one code
        return torch.addmm(self.point.bias, torch.cat([features, gates], dim=1), weight.T)
