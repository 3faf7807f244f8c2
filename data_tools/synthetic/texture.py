"""Procedural surface colour: value noise over 3D points, so that a point has one colour from every view."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

CELLS = 32


@dataclass(frozen=True)
class Texture:
    """Colour around `base`, varied by octaves of smooth noise down to `wavelength / 2^(octaves - 1)`."""

    base: tuple[float, float, float]
    wavelength: float = 1.0
    """Size of the largest blobs in world units."""
    octaves: int = 3
    contrast: float = 1.0
    seed: int = 0

    def __call__(self, points: Float[Tensor, "R 3"]) -> Float[Tensor, "R 3"]:
        """Colour in (0, 1)."""
        generator = torch.Generator().manual_seed(self.seed)
        total = torch.zeros(len(points), 3)
        for octave in range(self.octaves):
            lattice = torch.rand(CELLS, CELLS, CELLS, 3, generator=generator) * 2 - 1
            # a turned lattice does not show its cells on axis-aligned walls
            turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64)).Q
            offset = torch.rand(3, generator=generator, dtype=torch.float64) * CELLS
            total += 0.85**octave * value_noise(lattice, points @ turn / self.wavelength * 2**octave + offset)
        grey = total.mean(-1, keepdim=True)
        return torch.sigmoid(torch.logit(torch.tensor(self.base)) + self.contrast * (2.6 * grey + 0.4 * total))


def value_noise(lattice: Float[Tensor, "S S S F"], points: Float[Tensor, "R 3"]) -> Float[Tensor, "R F"]:
    """Periodic noise with continuous second derivatives: quintic blend of the eight lattice values around a point."""
    size = lattice.shape[0]
    cell = points.floor()
    f = (points - cell).to(lattice.dtype)
    blend = f * f * f * (f * (f * 6 - 15) + 10)
    low = cell.long() % size
    high = (low + 1) % size
    total = torch.zeros(len(points), lattice.shape[-1], dtype=lattice.dtype)
    for corner in range(8):
        up = torch.tensor([corner >> 2 & 1, corner >> 1 & 1, corner & 1], dtype=torch.bool)
        x, y, z = torch.where(up, high, low).unbind(-1)
        total += torch.where(up, blend, 1 - blend).prod(-1, keepdim=True) * lattice[x, y, z]
    return total
