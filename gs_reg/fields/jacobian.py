"""Jacobians of a motion: of the coarse field itself, fitted to the motion of neighbours, and made safe to use."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gs_reg.fields.coarse import CoarseField

FLAT, LONG = 0.05, 6.0
"""Least determinant and largest Frobenius norm of a Jacobian that is used as it is."""
TINY = 1e-12
"""Least square of a stretch."""
RIDGE = 1e-3
"""Of the trace of the neighbours' spread, added to it: the normal of a sheet of skin then just rotates."""


def exact(
    coarse: CoarseField,
    x: Float[Tensor, "N 3"],
    latent: Float[Tensor, "N L"],
    gates: Float[Tensor, "N G"] | None,
    z: Float[Tensor, "D"],
) -> Float[Tensor, "N 3 3"]:
    """I + dF/dx by three forward tangents, without a gradient."""
    with torch.no_grad():
        return coarse.with_jacobian(x, latent, gates, z)[1]


@torch.no_grad()
def from_neighbours(
    points: Float[Tensor, "N 3"],
    moved: Float[Tensor, "N 3"],
    neighbors: Int[Tensor, "N k"],
    weights: Float[Tensor, "N k"],
    rows: Int[Tensor, "M"] | None = None,
) -> Float[Tensor, "M 3 3"]:
    """The linear map that fits the motion of the weighted neighbours best, beside their best rotation.

    Of some rows, else of all, where M = N.
    """
    chosen = slice(None) if rows is None else rows
    index = neighbors[chosen].long()
    before, after = points[index] - points[chosen, None], moved[index] - moved[chosen, None]
    weighted = weights[chosen, ..., None] * before
    rotation = polar(after.transpose(1, 2) @ weighted)
    rest = after - before @ rotation.transpose(1, 2)
    spread = before.transpose(1, 2) @ weighted
    trace = spread.diagonal(dim1=1, dim2=2).sum(1)
    ridge = (RIDGE * trace).clamp_min(torch.finfo(trace.dtype).tiny)
    spread = spread + ridge[:, None, None] * torch.eye(3).to(spread)
    # a node without neighbours has no rest either, and just keeps its rotation
    stretch = torch.linalg.solve(spread / ridge[:, None, None], weighted.transpose(1, 2) @ rest / ridge[:, None, None])
    return rotation + stretch.transpose(1, 2)


@torch.no_grad()
def guarded(jacobian: Float[Tensor, "N 3 3"]) -> tuple[Float[Tensor, "N 3 3"], Bool[Tensor, "N"]]:
    """Jacobians that nearly fold or stretch too far become their polar rotation; says which ones did."""
    folded = ~((torch.linalg.det(jacobian) >= FLAT) & (jacobian.flatten(1).norm(dim=1) <= LONG))
    if not bool(folded.any()):
        return jacobian, folded
    return jacobian.index_copy(0, folded.nonzero()[:, 0], polar(jacobian[folded])), folded


@torch.no_grad()
def principal_stretches(jacobian: Float[Tensor, "N 3 3"]) -> Float[Tensor, "N 3"]:
    """Logarithms of the singular values, smallest first, by the trigonometric formula for the roots of a cubic; not a
    number where the Jacobian has one that is not finite."""
    metric = jacobian.transpose(1, 2) @ jacobian
    mean = metric.diagonal(dim1=1, dim2=2).mean(1)
    rest = metric - mean[:, None, None] * torch.eye(3).to(metric)
    size = (rest.square().sum((1, 2)) / 6).clamp_min(TINY).sqrt()
    angle = (torch.linalg.det(rest / size[:, None, None]) / 2).clamp(-1, 1).acos() / 3
    largest, smallest = mean + 2 * size * angle.cos(), mean + 2 * size * (angle + 2 * math.pi / 3).cos()
    squares = torch.stack([smallest, 3 * mean - largest - smallest, largest], dim=1)
    return squares.clamp_min(TINY).log() / 2


def polar(matrices: Float[Tensor, "N 3 3"]) -> Float[Tensor, "N 3 3"]:
    """The rotation nearest to each matrix; the identity for one that is not finite."""
    finite = matrices.isfinite().all(-1).all(-1)[:, None, None]
    u, _, v = torch.linalg.svd(torch.where(finite, matrices, torch.eye(3).to(matrices)))
    mirrored = torch.linalg.det(u @ v) < 0
    flip = torch.ones_like(matrices[:, 0])
    flip[:, 2] = torch.where(mirrored, -1.0, 1.0)
    return u @ (flip[:, :, None] * v)
