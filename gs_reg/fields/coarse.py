"""The coarse field F: offsets of canonical points by latent and expression code, and their Jacobian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gs_reg.fields.inputs import CodeScale, PointLayer, SplitLayer, groups_of

SKIP = 2
"""Hidden layer that reads the inputs again, from 0."""


@dataclass(frozen=True)
class Prepared:
    """What a field makes of points before it knows the code; kept from frame to frame as long as nothing is trained."""

    values: Float[Tensor, "N C"]
    """Of a linear field its last hidden layer, else the inputs of the first."""
    gates: Float[Tensor, "N G"] | None
    tangents: Float[Tensor, "3 N O"] | None
    """Derivatives by the position of the values (linear), or of the first layer's outputs."""


class CoarseField(CodeScale):
    """A network of `depth` hidden layers that reads its inputs again in the third; its last layer starts at zero.

    A linear one gives the code to the last layer alone: offset = sum_k z_k b_k(x, latent) with standardised z, as
    blendshapes are. Then all hidden layers are those of the canonical cloud and a frame costs one small product.
    """

    def __init__(
        self,
        dim: int,
        groups: tuple[int, ...] | None = None,
        latent: int = 8,
        width: int = 128,
        depth: int = 5,
        octaves: int = 4,
        linear: bool = False,
    ):
        """
        Raises:
            ValueError: less than three hidden layers, or groups that do not fit the code.
        """
        super().__init__(dim)
        if depth <= SKIP:
            raise ValueError(f"depth: expected at least {SKIP + 1} hidden layers, got {depth}")
        self.width, self.linear, self.groups = width, linear, groups_of(dim, groups)
        sizes = {"latent": latent, "width": width, "depth": depth, "octaves": octaves, "linear": linear}
        self.arguments: dict[str, Any] = {"dim": dim, "groups": self.groups, **sizes}
        """What makes a field of the same shapes."""
        self.hidden = nn.ModuleList([nn.Linear(width, width) for _ in range(depth - 1)])
        if linear:
            self.first = PointLayer(latent, 2 * width, octaves)
            self.basis = nn.Parameter(torch.zeros(dim, 3, width + 1))
        else:
            self.first = SplitLayer(self.groups, latent, 2 * width, octaves)
            self.out = nn.Linear(width, 3)
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    def forward(
        self,
        x: Float[Tensor, "N 3"],
        latent: Float[Tensor, "N L"],
        gates: Float[Tensor, "N G"] | None,
        z: Float[Tensor, "*B D"],
    ) -> Float[Tensor, "*B N 3"]:
        """Offsets of the points under each code; gates None are all open."""
        return self.at(self.prepare(x, latent, gates, jacobian=False), z)[0]

    def with_jacobian(
        self,
        x: Float[Tensor, "N 3"],
        latent: Float[Tensor, "N L"],
        gates: Float[Tensor, "N G"] | None,
        z: Float[Tensor, "D"],
        constant: bool = True,
    ) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 3 3"]]:
        """Offsets, and J = I + dF/dx by forward-mode tangents; a constant J has no gradient."""
        offset, jacobian = self.at(self.prepare(x, latent, gates, constant=constant), z, constant)
        assert jacobian is not None
        return offset, jacobian

    def prepare(
        self,
        x: Float[Tensor, "N 3"],
        latent: Float[Tensor, "N L"],
        gates: Float[Tensor, "N G"] | None,
        jacobian: bool = True,
        constant: bool = True,
    ) -> Prepared:
        """The part of the work that is the same for every code, for `at`."""
        tangents, features = None, self.first.features(x, latent)
        if jacobian:
            with _gradients(not constant):
                tangents = self.first.slopes(x)
        if not self.linear:
            return Prepared(features, gates, tangents)
        values, tangents = self._layers(self.first.point(features), tangents, constant)
        return Prepared(values, gates, tangents)

    def at(
        self, prepared: Prepared, z: Float[Tensor, "*B D"], constant: bool = True
    ) -> tuple[Float[Tensor, "*B N 3"], Float[Tensor, "*B N 3 3"] | None]:
        """Offsets and, of points prepared for it, J under each code (of a field that is not linear: under one)."""
        z, values, tangents, gates = self.standardised(z), prepared.values, prepared.tangents, prepared.gates
        if self.linear:
            weight, bias = self._frame(z, gates)
            offset, slopes = _gated(values @ weight + bias, gates), None
            if tangents is not None:
                with _gradients(not constant):
                    slopes = _gated(tangents @ weight[..., None, :, :], gates)
        else:
            assert isinstance(self.first, SplitLayer)
            a = self.first(values, gates, self.first.columns(z))
            h, t = self._layers(a, tangents, constant)
            offset, slopes = self.out(h), None
            if t is not None:
                with _gradients(not constant):
                    slopes = t @ self.out.weight.T
        if slopes is None:
            return offset, None
        with _gradients(not constant):  # slopes are [axis of x, N, component]
            return offset, slopes.movedim(-3, -1) + torch.eye(3).to(slopes)

    def _frame(self, z: Tensor, gates: Tensor | None) -> tuple[Tensor, Tensor]:
        """Weights [*B, width, 3 g] and biases [*B, 1, 3 g] of a linear field's last layer, for each of g groups."""
        sizes = [z.shape[-1]] if gates is None else list(self.groups)
        parts = zip(z.split(sizes, -1), self.basis.flatten(1).split(sizes), strict=True)
        columns = torch.stack([part @ basis for part, basis in parts], dim=-2)
        columns = columns.unflatten(-1, (3, self.width + 1)).flatten(-3, -2).transpose(-1, -2)
        return columns[..., :-1, :], columns[..., -1:, :]

    def _layers(self, a: Tensor, tangents: Tensor | None, constant: bool) -> tuple[Tensor, Tensor | None]:
        """The last hidden layer and its tangents, from the outputs of the first layer."""
        a, skip = a.split(self.width, -1)
        t, t_skip = (None, None) if tangents is None else tangents.split(self.width, -1)
        h, t = self._activate(a, t, constant)
        for i, layer in enumerate(self.hidden, 1):
            a = layer(h) + skip if i == SKIP else layer(h)
            if t is not None and t_skip is not None:
                with _gradients(not constant):
                    t = F.linear(t, layer.get_parameter("weight"))
                    t = t + t_skip if i == SKIP else t
            h, t = self._activate(a, t, constant)
        return h, t

    def _activate(self, a: Tensor, t: Tensor | None, constant: bool) -> tuple[Tensor, Tensor | None]:
        if t is None:
            return F.silu(a, inplace=not torch.is_grad_enabled()), None
        with _gradients(not constant):
            s = a.sigmoid()
            t = t * (s * (1 + a * (1 - s)))
        return F.silu(a), t


def _gated(outputs: Float[Tensor, "*B N O"], gates: Float[Tensor, "N G"] | None) -> Float[Tensor, "*B N 3"]:
    """Sum over groups, each times its gate."""
    return outputs if gates is None else (outputs.unflatten(-1, (-1, 3)) * gates[..., None]).sum(-2)


def _gradients(wanted: bool) -> torch.autograd.grad_mode.set_grad_enabled:
    return torch.set_grad_enabled(wanted and torch.is_grad_enabled())
