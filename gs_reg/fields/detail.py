"""The detail field G: bounded residuals of a Gaussian's attributes by latent and expression code.

Two parts add up before the bound: hidden layers, and shapes that are linear in the code. What a face does beyond its
prior is mostly a sum over movements, as blendshapes are, and a sum is learned in fewer steps, and carries over to
movements together that training never shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gs_reg.errors import InputError
from gs_reg.fields.inputs import CodeScale, SplitLayer, groups_of

HEADS = {"pos": (3, 0.05), "rot": (3, 0.5), "scale": (3, 0.5), "opacity": (1, 4.0), "color": (3, 0.5)}
"""Width and bound of each head: units, radians, log-scale, logit, colour of SH degree 0."""
LEAN = ("pos", "opacity", "color")
"""Heads of the preset `lean`."""


@dataclass(frozen=True)
class Residuals:
    """What G adds to the attributes of N Gaussians; None where a head is off."""

    pos: Float[Tensor, "*B N 3"] | None = None
    """Added to the warped centre."""
    rot: Float[Tensor, "*B N 3"] | None = None
    """Rotation vector in canonical axes, applied after the Gaussian's own rotation."""
    scale: Float[Tensor, "*B N 3"] | None = None
    """Added to the log-scales."""
    opacity: Float[Tensor, "*B N"] | None = None
    """Added to the opacity logit."""
    color: Float[Tensor, "*B N 3"] | None = None
    """Added to the colour of degree 0."""
    raw: Float[Tensor, "*B N H"] | None = None
    """What the heads put into tanh, for the loss that keeps them small."""

    def times(self, factors: Float[Tensor, "N"]) -> Residuals:
        """Less of all of it for some Gaussians; `raw` stays."""
        parts = {name: value for name, value in vars(self).items() if value is not None and name != "raw"}
        return replace(self, **{n: v * (factors[:, None] if v.ndim == 2 else factors) for n, v in parts.items()})


class DetailField(CodeScale):
    """`depth` hidden layers and `modes` of linear shapes, with one zero-initialised output for each head; without heads
    it has no weights at all."""

    def __init__(
        self,
        dim: int,
        groups: tuple[int, ...] | None = None,
        latent: int = 8,
        width: int = 128,
        depth: int = 3,
        octaves: int = 4,
        heads: Sequence[str] = tuple(HEADS),
        modes: int = 32,
        constant: bool = False,
    ):
        """`constant`: the linear shapes have one more that no code scales. Without it the noise of channels that are 0
        would take its place, and what they learned so would show when they are not 0.

        Raises:
            InputError: a head that is not there.
            ValueError: no hidden layer, modes below 0, or groups that do not fit the code.
        """
        super().__init__(dim)
        if unknown := [name for name in heads if name not in HEADS]:
            raise InputError(f"heads: expected some of {', '.join(HEADS)}, got {', '.join(unknown)}")
        if depth < 1:
            raise ValueError(f"depth: expected at least 1 hidden layer, got {depth}")
        if modes < 0:
            raise ValueError(f"modes: expected at least 0, got {modes}")
        self.heads = tuple(name for name in HEADS if name in heads)
        groups = groups_of(dim, groups)
        sizes = {"latent": latent, "width": width, "depth": depth, "octaves": octaves, "heads": self.heads}
        sizes |= {"modes": modes, "constant": constant}
        self.arguments: dict[str, Any] = {"dim": dim, "groups": groups, **sizes}
        """What makes a field of the same shapes."""
        if self.heads:
            self.first = SplitLayer(groups, latent, width, octaves)
            self.hidden = nn.ModuleList([nn.Linear(width, width) for _ in range(depth - 1)])
            outputs = sum(HEADS[name][0] for name in self.heads)
            self.out = nn.Linear(width, outputs)
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)
        if self.heads and modes:
            inputs, half = self.first.point.in_features, max(width // 2, 1)
            self.places = nn.Sequential(nn.Linear(inputs, half), nn.SiLU(), nn.Linear(half, modes), nn.SiLU())
            self.shapes = nn.Parameter(torch.zeros(outputs, modes, dim))
            self.constant = nn.Parameter(torch.zeros(outputs, modes)) if constant else None

    def columns(self, z: Float[Tensor, "*B D"]) -> Float[Tensor, "*B G O"]:
        """The code's part of the first layer, to be computed once a frame."""
        return self.first.columns(self.standardised(z))

    def forward(
        self,
        x: Float[Tensor, "N 3"],
        latent: Float[Tensor, "N L"],
        gates: Float[Tensor, "N G"] | None,
        z: Float[Tensor, "*B D"],
    ) -> Residuals:
        """Residuals of the points under each code; gates None are all open."""
        if not self.heads:
            return Residuals()
        features = self.first.features(x, latent)
        h = F.silu(self.first(features, gates, self.columns(z)))
        for layer in self.hidden:
            h = F.silu(layer(h))
        raw = self.out(h)
        if self.arguments["modes"]:
            raw = raw + self._linear(features, gates, z)
        values = raw.tanh().split([HEADS[name][0] for name in self.heads], -1)
        parts = {name: HEADS[name][1] * value for name, value in zip(self.heads, values, strict=True)}
        if "opacity" in parts:
            parts["opacity"] = parts["opacity"][..., 0]
        return Residuals(**parts, raw=raw)

    def _linear(
        self, features: Float[Tensor, "N I"], gates: Float[Tensor, "N G"] | None, z: Float[Tensor, "*B D"]
    ) -> Float[Tensor, "*B N H"]:
        """What each open group of the code adds to the outputs: its channels times shapes over the modes of a point."""
        modes = self.places(features)
        total = features.new_zeros(()) if self.constant is None else modes @ self.constant.T
        groups = self.first.groups
        parts = zip(self.standardised(z).split(groups, -1), self.shapes.split(groups, 2), strict=True)
        for number, (part, shapes) in enumerate(parts):
            if not groups[number]:
                continue
            added = modes @ torch.einsum("hkd,...d->...kh", shapes, part)
            total = total + (added if gates is None else gates[:, number, None] * added)
        return total
