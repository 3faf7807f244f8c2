"""A toy head in closed form: a ball with a mouth that opens along a slit, whose inverse and Jacobian are known."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.priors.types import UNIT_M, Part, SurfaceSample
from gs_reg.tensor_dataclass import TensorDataclass

STEEPEST = 1.717
"""Largest slope of the bump b(u) = (1 - u^2)^3."""
BOUND = 0.9
"""Of sum_k |z_k a_k| STEEPEST / r_k: below 1 the motion is a contraction, so that it can be undone."""
RADIUS = 0.4
MOUTH = (0.0, 0.0, 0.4)
MOUTH_RADIUS = 0.25


def _bumps() -> Float[Tensor, "K 3"]:
    """Where channels 1 to 7 act: points of the ball away from the mouth and from each other, and one in the mouth."""
    directions = [[0.6, 0.5, 0.6], [-0.6, 0.5, 0.6], [0.8, -0.3, 0.4], [-0.8, -0.3, 0.4], [0, 0.9, 0.4], [0, -0.8, 0.5]]
    outer = torch.nn.functional.normalize(torch.tensor(directions, dtype=torch.float64), dim=1) * RADIUS
    return torch.cat([outer, torch.tensor([[0.05, 0.0, RADIUS]], dtype=torch.float64)])


def _moves() -> Float[Tensor, "K 3"]:
    moves = [[0, 1, 0], [0, 1, 0], [0.6, 0, 0.8], [-0.6, 0, 0.8], [0, 0.6, 0.8], [0, -0.8, 0.6], [1, 0, 0]]
    return torch.tensor(moves, dtype=torch.float64)


@dataclass(frozen=True)
class ToyPrior(TensorDataclass):
    """x' = x + sum_k z_k a_k e_k b(|x - c_k| / r_k) with b(u) = (1 - u^2)^3 inside u < 1.

    The first channel opens the mouth: its e_k points up for the upper half and down for the lower. A half is said by
    the part, LIP_UPPER or LIP_LOWER; points of other parts belong to the half on whose side of the slit (y = 0) they
    lie.
    """

    centers: Float[Tensor, "K 3"] = field(
        default_factory=lambda: torch.cat([torch.tensor([MOUTH], dtype=torch.float64), _bumps()])
    )
    directions: Float[Tensor, "K 3"] = field(
        default_factory=lambda: torch.cat([torch.tensor([[0.0, 1, 0]], dtype=torch.float64), _moves()])
    )
    radii: Float[Tensor, "K"] = field(default_factory=lambda: torch.full((8,), MOUTH_RADIUS, dtype=torch.float64))
    amplitudes: Float[Tensor, "K"] = field(
        default_factory=lambda: torch.tensor([0.05] + [0.01] * 7, dtype=torch.float64)
    )
    name: str = "toy"
    licence: str = "Apache-2.0"
    unit_m: float = UNIT_M

    @property
    def dim(self) -> int:
        return len(self.centers)

    @property
    def channels(self) -> tuple[str, ...]:
        return ("mouthOpen", *(f"bump{k}" for k in range(1, self.dim)))

    @property
    def neutral(self) -> Float[Tensor, "dim"]:
        return torch.zeros(self.dim, device=self.centers.device)

    @property
    def lo(self) -> Float[Tensor, "dim"]:
        """The mouth does not close further than shut."""
        return torch.cat([self.neutral[:1], self.neutral[1:] - 1])

    @property
    def hi(self) -> Float[Tensor, "dim"]:
        return self.neutral + 1

    def surface(self, ident: Float[Tensor, "I"] | None, n: int, seed: int) -> SurfaceSample:
        """The ball, and the two sides of the slit, which coincide as long as the mouth is shut."""
        generator = torch.Generator().manual_seed(seed)
        slit = n // 5
        normals = torch.nn.functional.normalize(torch.randn(n - slit, 3, generator=generator), dim=1)
        ball = normals * RADIUS
        lip = (ball - torch.tensor(MOUTH)).norm(dim=1) < MOUTH_RADIUS
        halves = torch.where(ball[:, 1] < 0, Part.LIP_LOWER, Part.LIP_UPPER)
        angle, depth = torch.rand(2, slit, generator=generator)
        angle, depth = (angle - 0.5) * 2 * 0.6, RADIUS - 0.15 * depth  # well inside the reach of the bump
        sheet = torch.stack([depth * angle.sin(), torch.zeros(slit), depth * angle.cos()], dim=1)
        sides = torch.where(torch.arange(slit) % 2 == 0, Part.LIP_UPPER, Part.LIP_LOWER)
        facing = torch.where(sides == Part.LIP_UPPER, -1.0, 1.0)[:, None] * torch.tensor([0.0, 1.0, 0.0])
        sample = SurfaceSample(
            torch.cat([ball, sheet]),
            torch.cat([normals, facing]),
            torch.cat([torch.where(lip, halves, Part.SKIN), sides]),
        )
        return sample.to(self.centers.device)

    def forward(
        self,
        x: Float[Tensor, "*B N 3"],
        z: Float[Tensor, "*B dim"],
        ident: Float[Tensor, "I"] | None = None,
        part: Int[Tensor, "*B N"] | None = None,
    ) -> Float[Tensor, "*B N 3"]:
        """Canonical to posed.

        Raises:
            ValueError: a code is so large that the motion could not be undone.
        """
        return x + self._offset(x, self._checked(z), self._half(x, part))

    def backward(
        self,
        x: Float[Tensor, "*B N 3"],
        z: Float[Tensor, "*B dim"],
        ident: Float[Tensor, "I"] | None = None,
        part: Int[Tensor, "*B N"] | None = None,
    ) -> tuple[Float[Tensor, "*B N 3"], Float[Tensor, "*B N 1"]]:
        """Posed to canonical by a fixed-point iteration; the hyper coordinate is 1 in the upper half, -1 in the lower.

        Raises:
            ValueError: as forward.
        """
        z, half = self._checked(z), self._half(x, part)
        canonical = x
        for _ in range(400):
            step = x - self._offset(canonical, z, half) - canonical
            canonical = canonical + step
            if not step.numel() or step.detach().abs().max() <= 4 * torch.finfo(x.dtype).eps:
                break
        return canonical, half[..., None]

    def jacobian(
        self, x: Float[Tensor, "*B N 3"], z: Float[Tensor, "*B dim"], part: Int[Tensor, "*B N"] | None = None
    ) -> Float[Tensor, "*B N 3 3"]:
        """Of forward: I + sum_k z_k a_k e_k (grad b)^T."""
        delta = x[..., None, :] - self.centers.to(x)
        square = (delta.square().sum(-1) / self.radii.to(x).square()).clamp_max(1)
        slope = -6 * (1 - square).square()[..., None] * delta / self.radii.to(x).square()[:, None]
        moves = self._moves(self._checked(z), self._half(x, part))
        return torch.eye(3).to(x) + moves.transpose(-1, -2) @ slope

    def posed_mesh(self, z: Float[Tensor, "dim"], ident: Float[Tensor, "I"] | None = None) -> None:
        return None

    def from_arkit(self, a52: Float[Tensor, "*B 52"]) -> None:
        return None

    def _offset(
        self, x: Float[Tensor, "*B N 3"], z: Float[Tensor, "*B dim"], half: Float[Tensor, "*B N"]
    ) -> Float[Tensor, "*B N 3"]:
        square = (x[..., None, :] - self.centers.to(x)).square().sum(-1) / self.radii.to(x).square()
        bump = (1 - square).clamp_min(0) ** 3
        return (bump[..., None, :] @ self._moves(z, half))[..., 0, :]

    def _moves(self, z: Float[Tensor, "*B dim"], half: Float[Tensor, "*B N"]) -> Float[Tensor, "*B N dim 3"]:
        """z_k a_k e_k of each point."""
        sign = torch.cat([half[..., None], half.new_ones(*half.shape, self.dim - 1)], dim=-1)
        moves = (z * self.amplitudes.to(z))[..., None] * self.directions.to(z)
        return sign[..., None] * moves.to(half)[..., None, :, :]

    def _half(self, x: Float[Tensor, "*B N 3"], part: Int[Tensor, "*B N"] | None) -> Float[Tensor, "*B N"]:
        side = torch.where(x[..., 1] < 0, -1.0, 1.0).to(x)
        if part is None:
            return side
        side = torch.where(part == Part.LIP_UPPER, torch.ones_like(side), side)
        return torch.where(part == Part.LIP_LOWER, -torch.ones_like(side), side)

    def _checked(self, z: Float[Tensor, "*B dim"]) -> Float[Tensor, "*B dim"]:
        slope = ((z * self.amplitudes.to(z)).abs() / self.radii.to(z)).sum(-1) * STEEPEST
        if not (slope < BOUND).all():
            raise ValueError(f"z: the toy head can be undone up to a slope of {BOUND}, got {float(slope.max()):.3g}")
        return z
