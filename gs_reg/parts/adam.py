"""The paper's fit of the labels by gradient steps, one view each, with its softness and its anchors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.neighbors import nearest
from gs_reg.parts.evidence import Evidence, Report, silent
from gs_reg.parts.softness import softness, view_moments
from gs_reg.render import composite
from gs_reg.sh import C0, sh_sums

BIAS = 0.5
"""Of the labels while they are fitted, as colour has it."""


@dataclass(frozen=True)
class AdamConfig:
    steps: int = 600
    rate: float = 0.0125
    """Of the first coefficients; the others have 1/20 of it."""
    image_weight: float = 30.0
    """Of the mean absolute difference to the shares."""
    every: int = 50
    """Steps from one choice of anchors to the next."""
    anchors: int = 1000
    """Half of them the softest, half the surest."""
    candidates: int = 300_000
    """Gaussians, drawn at random, that anchors are chosen among."""
    neighbors: int = 50
    """Nearest centres that each anchor is tied to."""
    neighbor_weight: float = 60.0


def solve_adam(
    evidence: Evidence,
    degree: int,
    config: AdamConfig = AdamConfig(),
    *,
    anchors: bool = True,
    soft: bool = True,
    seed: int = 0,
    report: Report = silent,
) -> Float[Tensor, "N K D"]:
    """Labels, their bias within the first coefficients. Without `soft`, anchors are drawn at random."""
    splats, views = evidence.splats.detach(), len(evidence.cameras)
    generator = torch.Generator().manual_seed(seed)
    count, labels = evidence.votes.shape[1:]
    first = torch.full((count, 1, labels), 0.5).to(splats.means).requires_grad_()
    rest = torch.zeros(count, (degree + 1) ** 2 - 1, labels).to(splats.means).requires_grad_()
    groups = [{"params": [first], "lr": config.rate}, {"params": [rest], "lr": config.rate / 20}]
    optimizer = torch.optim.Adam(groups, eps=1e-15)
    tied: tuple[Tensor, Tensor] | None = None
    order: list[int] = []
    for step in range(config.steps):
        order = order or torch.randperm(views, generator=generator).tolist()
        view = order.pop()
        sh = torch.cat([first, rest], 1)
        drawn = sh_sums(sh, splats.means, evidence.cameras[view].centers, degree, bias=BIAS, clamp=True)
        with torch.no_grad():
            projected = evidence.projected(view)
        shares = evidence.shares(view)
        weights = (shares @ evidence.confidence[view])[..., None]
        loss = config.image_weight * ((composite(projected, drawn)[0] - shares).abs() * weights).mean()
        if anchors and step and step % config.every == 0:
            tied = _anchors(evidence, _without_bias(sh.detach()), config, soft, generator)
        if tied is not None:
            apart = first[tied[0]] - first[tied[1], 0]
            loss = loss + config.neighbor_weight / len(tied[0]) * apart.abs().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        report("gradient fit", step + 1, config.steps)
    return _without_bias(torch.cat([first, rest], 1).detach())


def _without_bias(sh: Float[Tensor, "N K D"]) -> Float[Tensor, "N K D"]:
    return torch.cat([sh[:, :1] + BIAS / C0, sh[:, 1:]], 1)


def _anchors(
    evidence: Evidence, sh: Float[Tensor, "N K D"], config: AdamConfig, soft: bool, generator: torch.Generator
) -> tuple[Int[Tensor, "A"], Int[Tensor, "A k"]]:
    """Rows of the anchors and of their nearest centres."""
    means = evidence.splats.means
    rows = torch.randperm(len(means), generator=generator)[: config.candidates].to(means.device)
    count = min(config.anchors, len(rows))
    if soft:
        moments = view_moments(sh, means, evidence.cameras, evidence.votes.sum(-1))
        ranked = rows[softness(moments)[rows].argsort()]
        chosen = torch.cat([ranked[: count // 2], ranked[len(ranked) - (count - count // 2) :]])
    else:
        chosen = rows[:count]
    k = min(config.neighbors, len(means))
    return chosen, nearest(means, k, means[chosen])[0].long()
