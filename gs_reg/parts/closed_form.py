"""Labels in closed form: each Gaussian takes what its own pixels vote for, by one small linear system.

The sum over Gaussians, views and pixels of blending weight times |label - share|^2 is, but for a constant, never less
than the squared error of the drawn labels: the weights of a pixel sum to 1 with what is left over for the background
(Jensen). And it falls apart into N systems of K = (degree + 1)^2 unknowns with one matrix for all labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.parts.evidence import Evidence
from gs_reg.sh import C0, sh_basis

BLOCK = 1 << 18
"""Gaussians times views that are solved at a time."""


@dataclass(frozen=True)
class Ridge:
    """What stands in for evidence where there is little of it, relative to a Gaussian's own or to the median."""

    bands: float = 0.5
    """Against change with the view: times l (l + 1) in band l. With less, labels follow the views that err."""
    prior: float = 1e-3
    """For the background, so that Gaussians without a vote get it."""


@dataclass(frozen=True)
class Block:
    """Systems of a run of Gaussians, in float64: from few views they are nearly singular."""

    rows: slice
    factors: Float[Tensor, "n K K"]
    """Lower Cholesky factors."""
    right: Float[Tensor, "n K D"]


def solve_votes(evidence: Evidence, weights: Float[Tensor, "C D"], degree: int, ridge: Ridge) -> Float[Tensor, "N K D"]:
    """The labels that the votes, weighted by view and label, ask for."""
    _, count, labels = evidence.votes.shape
    sh = evidence.votes.new_empty(count, (degree + 1) ** 2, labels)
    for block in vote_blocks(evidence, weights, degree, ridge):
        sh[block.rows] = torch.cholesky_solve(block.right, block.factors).to(sh)
    return sh


def mean_votes(evidence: Evidence, weights: Float[Tensor, "C D"], ridge: Ridge) -> Float[Tensor, "N D"]:
    """Labels that do not vary with the view: solve_votes() of degree 0 times its basis, without the systems."""
    votes = evidence.total(weights)
    totals = votes.sum(1, keepdim=True)
    prior = ridge.prior * _typical(totals)
    votes[:, 0] += prior
    return votes / (totals + prior)


def packed_factors(
    evidence: Evidence,
    weights: Float[Tensor, "C D"],
    degree: int,
    ridge: Ridge,
    more: Float[Tensor, "N"] | None = None,
) -> Float[Tensor, "N P"]:
    """Cholesky factors of all systems, K (K + 1) / 2 numbers each; `more` is added to their first diagonal entries."""
    K = (degree + 1) ** 2
    lower = torch.tril_indices(K, K)
    packed = evidence.votes.new_empty(evidence.votes.shape[1], len(lower[0]))
    for block in vote_blocks(evidence, weights, degree, ridge, more):
        packed[block.rows] = block.factors[:, lower[0], lower[1]].to(packed)
    return packed


def solve_packed(packed: Float[Tensor, "N P"], right: Float[Tensor, "N K D"]) -> Float[Tensor, "N K D"]:
    K = right.shape[1]
    lower = torch.tril_indices(K, K)
    out = torch.empty_like(right)
    for start in range(0, len(right), BLOCK // 16):
        rows = slice(start, start + BLOCK // 16)
        factors = packed.new_zeros(len(packed[rows]), K, K)
        factors[:, lower[0], lower[1]] = packed[rows]
        out[rows] = torch.cholesky_solve(right[rows], factors)
    return out


def vote_blocks(
    evidence: Evidence,
    weights: Float[Tensor, "C D"],
    degree: int,
    ridge: Ridge,
    more: Float[Tensor, "N"] | None = None,
) -> Iterator[Block]:
    """Each system that the votes make, block by block."""
    means, centers = evidence.splats.means.double(), evidence.cameras.centers.double()
    diagonal = ridge_of(evidence, weights, degree, ridge)
    step = max(BLOCK // len(centers), 1)
    for start in range(0, len(means), step):
        rows = slice(start, start + step)
        votes = (evidence.votes[:, rows].double() * weights[:, None]).movedim(0, 1)
        basis = sh_basis(F.normalize(means[rows, None] - centers, dim=-1), degree)
        matrix = (basis * votes.sum(-1, keepdim=True)).mT @ basis
        matrix.diagonal(dim1=1, dim2=2).add_(diagonal[rows])
        right = basis.mT @ votes
        right[:, 0, 0] += diagonal[rows, 0] / C0
        if more is not None:
            matrix[:, 0, 0] += more[rows]
        yield Block(rows, torch.linalg.cholesky(matrix), right)


def ridge_of(evidence: Evidence, weights: Float[Tensor, "C D"], degree: int, ridge: Ridge) -> Float[Tensor, "N K"]:
    """The diagonal that is added to each system; its first column pulls to the background, the others to 0."""
    totals = evidence.total(weights).sum(1).double() / (4 * torch.pi)
    bands = torch.arange(degree + 1, device=totals.device).repeat_interleave(2 * torch.arange(degree + 1) + 1)
    return ridge.prior * _typical(totals) + ridge.bands * totals[:, None] * bands * (bands + 1)


def _typical(totals: Tensor) -> Tensor:
    """The median of what any view shows."""
    return totals[totals > 0].median() if totals.any() else totals.new_ones(())
