"""The coarse field F: offsets of canonical points by latent and expression code, and their Jacobian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gs_reg.fields.bumps import Bumps, Nearby, fits_kernel
from gs_reg.fields.inputs import CodeScale, PointLayer, SplitLayer, groups_of

SKIP = 2
"""Hidden layer that reads the inputs again, from 0."""


@dataclass(frozen=True)
class Prepared:
    """What a field makes of points before it knows the code; kept from frame to frame as long as nothing is trained."""

    values: Float[Tensor, "N C"]
    """Of a linear field its last hidden layer, or bumps while it is trained, else the inputs of the first."""
    gates: Float[Tensor, "N G"] | None
    tangents: Float[Tensor, "3 N O"] | None
    """Derivatives by the position of the values (linear), or of the first layer's outputs."""
    x: Float[Tensor, "N 3"] | None = None
    """Positions, of unmixed bumps whose Jacobians are wanted."""
    unmixed: Nearby | None = None
    """The bumps whose heights the values are, of which `at` makes no features, as while training."""
    latent: Float[Tensor, "N L"] | None = None
    """Of points whose positions the values are: `at` asks our kernel for bumps, heights and all."""


class CoarseField(CodeScale):
    """A network of `depth` hidden layers that reads its inputs again in the third; its last layer starts at zero.

    A linear one gives the code to the last layer alone: offset = sum_k z_k b_k(x, latent) with standardised z, as
    blendshapes are. Then all hidden layers are those of the canonical cloud and a frame costs one small product. With
    `bumps` it has as many of those in the place of hidden layers, whose weights can be found in closed form (`solve`).
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
        bumps: int = 0,
    ):
        """
        Raises:
            ValueError: less than three hidden layers, groups that do not fit the code, or bumps without `linear`.
        """
        super().__init__(dim)
        if depth <= SKIP:
            raise ValueError(f"depth: expected at least {SKIP + 1} hidden layers, got {depth}")
        if bumps and not linear:
            raise ValueError("bumps: only a linear field has them")
        self.width, self.linear, self.groups = width, linear, groups_of(dim, groups)
        sizes = {"latent": latent, "width": width, "depth": depth, "octaves": octaves}
        sizes |= {"linear": linear, "bumps": bumps}
        self.arguments: dict[str, Any] = {"dim": dim, "groups": self.groups, **sizes}
        """What makes a field of the same shapes."""
        self.bumps = Bumps(bumps, latent, width) if bumps else None
        if linear:
            self.basis = nn.Parameter(torch.zeros(dim, 3, width + 1))
        if self.bumps is not None:
            return
        self.hidden = nn.ModuleList([nn.Linear(width, width) for _ in range(depth - 1)])
        if linear:
            self.first = PointLayer(latent, 2 * width, octaves)
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
        if constant and self.has_kernel(x, latent):
            return Prepared(x, gates, None, x if jacobian else None, latent=latent)
        if self.bumps is not None:
            near = self.bumps.near(x, latent)
            values = near.heights(x, latent)
            if torch.is_grad_enabled():  # all are new in the next step: `at` does less than the features would take
                return Prepared(values, gates, None, x if jacobian else None, near)
            tangents = near.slopes(values, x, near.mix) if jacobian else None
            return Prepared(values @ near.mix, gates, tangents)
        tangents, features = None, self.first.features(x, latent)
        if jacobian:
            with _gradients(not constant):
                tangents = self.first.slopes(x)
        if not self.linear:
            return Prepared(features, gates, tangents)
        values, tangents = self._layers(self.first.point(features), tangents, constant)
        return Prepared(values, gates, tangents)

    def has_kernel(self, x: Float[Tensor, "N 3"], latent: Float[Tensor, "N L"]) -> bool:
        """Whether our kernel does the work for these points: all of them at once are then the least work."""
        return self.bumps is not None and fits_kernel(x, latent)

    def at(
        self, prepared: Prepared, z: Float[Tensor, "*B D"], constant: bool = True
    ) -> tuple[Float[Tensor, "*B N 3"], Float[Tensor, "*B N 3 3"] | None]:
        """Offsets and, of points prepared for it, J under each code (of a field that is not linear: under one)."""
        z, values, tangents, gates = self.standardised(z), prepared.values, prepared.tangents, prepared.gates
        if self.linear:
            weight, bias, gates = self._frame(z, gates)
            if prepared.latent is not None:
                assert self.bumps is not None
                weight, jacobian = self.bumps.mix @ weight, prepared.x is not None
                values, slopes = self.bumps.blended(values, prepared.latent, weight, jacobian)
                offset = _gated(values + bias, gates)
                with torch.no_grad():
                    return _with_identity(offset, None if slopes is None else _gated(slopes, gates))
            if prepared.unmixed is not None:
                weight = prepared.unmixed.mix @ weight
            offset, slopes = _gated(values @ weight + bias, gates), None
            with _gradients(not constant):
                if tangents is not None:
                    slopes = _gated(tangents @ weight[..., None, :, :], gates)
                elif prepared.x is not None and prepared.unmixed is not None:
                    slopes = _gated(prepared.unmixed.slopes(values, prepared.x, weight), gates)
        else:
            assert isinstance(self.first, SplitLayer)
            a = self.first(values, gates, self.first.columns(z))
            h, t = self._layers(a, tangents, constant)
            offset, slopes = self.out(h), None
            if t is not None:
                with _gradients(not constant):
                    slopes = t @ self.out.weight.T
        with _gradients(not constant):
            return _with_identity(offset, slopes)

    def _frame(self, z: Tensor, gates: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Weights [*B, width, 3 g] and biases [*B, 1, 3 g] of a linear field's last layer, for each of g groups.

        Groups that have no channels are left out, of the gates too.
        """
        filled = [g for g, size in enumerate(self.groups) if size]
        sizes = [z.shape[-1]] if gates is None else [self.groups[g] for g in filled]
        parts = zip(z.split(sizes, -1), self.basis.flatten(1).split(sizes), strict=True)
        columns = torch.stack([part @ basis for part, basis in parts], dim=-2)
        columns = columns.unflatten(-1, (3, -1)).flatten(-3, -2).transpose(-1, -2)
        return columns[..., :-1, :], columns[..., -1:, :], None if gates is None else gates[:, filled]

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


def _with_identity(
    offset: Tensor, slopes: Float[Tensor, "*B 3 N 3"] | None
) -> tuple[Float[Tensor, "*B N 3"], Float[Tensor, "*B N 3 3"] | None]:
    """Offsets, and J of their derivatives, which are by axis, point and component."""
    return offset, None if slopes is None else slopes.movedim(-3, -1) + torch.eye(3).to(slopes)


def _gated(outputs: Float[Tensor, "*B N O"], gates: Float[Tensor, "N G"] | None) -> Float[Tensor, "*B N 3"]:
    """Sum over groups, each times its gate."""
    return outputs if gates is None else (outputs.unflatten(-1, (-1, 3)) * gates[..., None]).sum(-2)


def _gradients(wanted: bool) -> torch.autograd.grad_mode.set_grad_enabled:
    return torch.set_grad_enabled(wanted and torch.is_grad_enabled())
