"""The coarse field F: offsets of canonical points by latent and expression code, and their Jacobian."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gs_reg.fields.inputs import CodeScale, SplitLayer, groups_of

SKIP = 2
"""Hidden layer that reads the inputs again, from 0."""


class CoarseField(CodeScale):
    """A network of `depth` hidden layers that reads its inputs again in the third; its last layer starts at zero."""

    def __init__(
        self,
        dim: int,
        groups: tuple[int, ...] | None = None,
        latent: int = 8,
        width: int = 128,
        depth: int = 5,
        octaves: int = 4,
    ):
        """
        Raises:
            ValueError: less than three hidden layers, or groups that do not fit the code.
        """
        super().__init__(dim)
        if depth <= SKIP:
            raise ValueError(f"depth: expected at least {SKIP + 1} hidden layers, got {depth}")
        self.width = width
        self.first = SplitLayer(groups_of(dim, groups), latent, 2 * width, octaves)
        self.hidden = nn.ModuleList([nn.Linear(width, width) for _ in range(depth - 1)])
        self.out = nn.Linear(width, 3)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def columns(self, z: Float[Tensor, "*B D"]) -> Float[Tensor, "*B G O"]:
        """The code's part of the first layer, to be computed once a frame."""
        return self.first.columns(self.standardised(z))

    def forward(
        self,
        x: Float[Tensor, "N 3"],
        latent: Float[Tensor, "N L"],
        gates: Float[Tensor, "N G"] | None,
        z: Float[Tensor, "*B D"],
    ) -> Float[Tensor, "*B N 3"]:
        """Offsets of the points under each code; gates None are all open."""
        h, skip = self.first(x, latent, gates, self.columns(z)).split(self.width, -1)
        h = F.silu(h)
        for i, layer in enumerate(self.hidden, 1):
            h = layer(h)
            h = F.silu(h + skip if i == SKIP else h)
        return self.out(h)

    def with_jacobian(
        self,
        x: Float[Tensor, "N 3"],
        latent: Float[Tensor, "N L"],
        gates: Float[Tensor, "N G"] | None,
        z: Float[Tensor, "D"],
    ) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 3 3"]]:
        """Offsets, and J = I + dF/dx by forward-mode tangents as a constant: no gradient flows through it."""
        a, skip = self.first(x, latent, gates, self.columns(z)).split(self.width, -1)
        with torch.no_grad():
            t, t_skip = self.first.slopes(x).split(self.width, -1)
        h, t = F.silu(a), t * _silu_slope(a)
        for i, layer in enumerate(self.hidden, 1):
            a = layer(h) + skip if i == SKIP else layer(h)
            with torch.no_grad():
                t = F.linear(t, layer.get_parameter("weight"))
                t = (t + t_skip if i == SKIP else t) * _silu_slope(a)
            h = F.silu(a)
        with torch.no_grad():
            columns = t @ self.out.weight.T  # [axis of x, N, component]
            jacobian = columns.permute(1, 2, 0) + torch.eye(3, dtype=x.dtype, device=x.device)
        return self.out(h), jacobian


def _silu_slope(a: Tensor) -> Tensor:
    a = a.detach()
    s = a.sigmoid()
    return s * (1 + a * (1 - s))
