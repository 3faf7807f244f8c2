"""Labels whose drawn pictures fit best, all Gaussians together, by conjugate gradients from the closed form.

The design matrix is never stored: it is one compositing, and its transpose one lift, a view. The closed form's systems
are the preconditioner. They bound the matrix from above, so the update by them alone never raises the objective
either, without a step size: what is left to do where conjugate gradients would raise it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.parts.closed_form import Ridge, packed_factors, ridge_of, solve_packed
from gs_reg.parts.evidence import Evidence, Report, silent
from gs_reg.parts.graph import Graph
from gs_reg.parts.softness import softness, view_moments
from gs_reg.render import composite, lift
from gs_reg.sh import C0, sh_sums


@dataclass(frozen=True)
class JointConfig:
    iterations: int = 1
    """Of conjugate gradients in each round. With more, labels follow the errors of single masks."""
    rounds: int = 2
    """Each weighs the differences of neighbours anew, so that their squares act like absolute values."""
    smoothness: float = 0.5
    """Trace of the neighbours' term over that of the pictures' term; 0 = without it."""
    softness_floor: float = 0.1
    """Added to the softness of both ends in an edge's weight."""
    difference_floor: float = 0.05
    """Added to the absolute difference of both ends' labels in an edge's weight."""


@dataclass(frozen=True)
class Edges:
    """Weights of differences between neighbours, for the term sum w |c_i - c_k|^2 on the first coefficients."""

    graph: Graph
    weights: Float[Tensor, "N k"]

    def product(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        out = torch.zeros_like(x)
        for nodes, weights in zip(self.graph.neighbors.T, self.weights.T, strict=True):
            steps = weights[:, None] * (x - x[nodes])
            out += steps
            out.index_add_(0, nodes, steps, alpha=-1)
        return out

    def diagonal(self) -> Float[Tensor, "N"]:
        ends = self.graph.neighbors.flatten()
        return self.weights.sum(1).index_add(0, ends, self.weights.flatten())


@torch.no_grad()
def solve_joint(
    evidence: Evidence,
    weights: Float[Tensor, "C D"],
    start: Float[Tensor, "N K D"],
    ridge: Ridge,
    graph: Graph | None,
    config: JointConfig = JointConfig(),
    soft: bool = True,
    report: Report = silent,
) -> Float[Tensor, "N K D"]:
    """The labels after `rounds` times `iterations` steps; without a graph neighbours have no say."""
    degree = round(start.shape[1] ** 0.5) - 1
    pixels, right = right_side(evidence, weights, degree, ridge)
    diagonal = ridge_of(evidence, weights, degree, ridge).to(start)
    sh = start
    for done in range(config.rounds):
        edges = _edges(evidence, weights, sh, graph, config, soft) if graph is not None else None

        def product(x: Tensor, edges: Edges | None = edges) -> Tensor:
            out = normal_product(evidence, pixels, x) + diagonal[..., None] * x
            if edges is not None:
                out[:, 0] += edges.product(x[:, 0])
            return out

        # no Laplacian is above twice its diagonal
        more = None if edges is None else 2 * edges.diagonal()
        factors = packed_factors(evidence, weights, degree, ridge, more)
        sh = descend(product, right, lambda r, f=factors: solve_packed(f, r), sh, config.iterations)
        report("joint solve", done + 1, config.rounds)
    return sh


def right_side(
    evidence: Evidence, weights: Float[Tensor, "C D"], degree: int, ridge: Ridge
) -> tuple[Float[Tensor, "C H W"], Float[Tensor, "N K D"]]:
    """Weights of the pixels, and the right side of the normal equations."""
    votes = evidence.votes * weights[:, None]
    pixels = torch.empty_like(evidence.alphas)
    for view in range(len(pixels)):
        pixels[view] = evidence.shares(view)[0] @ weights[view]
        left_over = pixels[view] * (1 - evidence.alphas[view])
        votes[view, :, 0] -= lift(evidence.projected(view), left_over[None, ..., None]).sums[0, :, 0]
    right = _to_coefficients(evidence, votes, degree)
    right[:, 0, 0] += ridge_of(evidence, weights, degree, ridge)[:, 0].to(right) / C0
    return pixels, right


def normal_product(
    evidence: Evidence, pixels: Float[Tensor, "C H W"], x: Float[Tensor, "N K D"]
) -> Float[Tensor, "N K D"]:
    """Of the pictures' part of the matrix: drawn, weighted, lifted."""
    degree = round(x.shape[1] ** 0.5) - 1
    labels = sh_sums(x, evidence.splats.means, evidence.cameras.centers, degree)
    for view in range(len(pixels)):
        projected = evidence.projected(view)
        drawn = composite(projected, labels[view : view + 1])[0]
        labels[view] = lift(projected, drawn * pixels[view, ..., None]).sums[0]
    return _to_coefficients(evidence, labels, degree)


def _to_coefficients(evidence: Evidence, sums: Float[Tensor, "C N D"], degree: int) -> Float[Tensor, "N K D"]:
    """Sum over views of basis functions times sums: the gradient of sh_sums()."""
    zeros = sums.new_zeros(sums.shape[1], (degree + 1) ** 2, sums.shape[2])
    with torch.enable_grad():
        leaf = zeros.requires_grad_()
        labels = sh_sums(leaf, evidence.splats.means.detach(), evidence.cameras.centers, degree)
        return torch.autograd.grad(labels, leaf, sums)[0]


def _edges(
    evidence: Evidence,
    weights: Float[Tensor, "C D"],
    sh: Float[Tensor, "N K D"],
    graph: Graph,
    config: JointConfig,
    soft: bool,
) -> Edges:
    totals = (evidence.votes * weights[:, None]).sum(-1)
    ends, shown = graph.neighbors, totals.sum(0) > 0
    strength = graph.weights * config.softness_floor
    if soft:
        s = softness(view_moments(sh, evidence.splats.means, evidence.cameras, totals))
        strength = graph.weights * (config.softness_floor + s[:, None] + s[ends])
    strength = strength * (shown[:, None] & shown[ends])  # what no view shows stays background
    label = C0 * sh[:, 0]
    apart = torch.stack([(label - label[nodes]).abs().sum(1) for nodes in ends.T], 1)
    edges = Edges(graph, strength / (apart + config.difference_floor))
    trace = edges.diagonal().sum()
    scale = config.smoothness * C0**2 * totals.sum() / trace.clamp_min(1e-12)
    return Edges(graph, edges.weights * scale)


def descend(product, right: Tensor, bounded, x: Float[Tensor, "N K D"], iterations: int) -> Float[Tensor, "N K D"]:
    """Conjugate gradients, each label by itself; the bound's own update from where they would raise the objective."""

    def dot(a: Tensor, b: Tensor) -> Float[Tensor, "D"]:
        return (a * b).double().sum((0, 1))

    residual = right - product(x)
    value = -dot(x, right + residual).sum()
    step = direction = bounded(residual)
    slope, plain = dot(residual, step), False
    for _ in range(iterations):
        along = product(direction)
        curvature = dot(direction, along)
        length = 1.0 if plain else (slope / curvature.clamp_min(1e-30)).to(x)
        moved, left = x + length * direction, residual - length * along
        reached = -dot(moved, right + left).sum()
        if not reached <= value or (curvature < 0).any():
            if plain:
                break  # nothing is left but rounding
            direction, plain = step, True
            continue
        x, residual, value = moved, left, reached
        step = bounded(residual)
        before, slope = slope, dot(residual, step)
        direction = step if plain else step + (slope / before.clamp_min(1e-30)).to(x) * direction
    return x
