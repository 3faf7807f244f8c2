"""How far each view is believed: by how well it agrees with what all views together say."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.parts.closed_form import Ridge, mean_votes
from gs_reg.parts.evidence import Evidence, Report, silent
from gs_reg.render import composite


@torch.no_grad()
def believed(evidence: Evidence, rounds: int, ridge: Ridge = Ridge(), report: Report = silent) -> Float[Tensor, "C D"]:
    """The teacher's confidence in each view and label times what the others make of it, after some rounds of both.

    What all views say together is a label of degree 0: one that may vary with the view agrees with the views that err.
    """
    confidence = evidence.confidence
    mass = evidence.votes.sum(1) * confidence
    weights = confidence
    for done in range(rounds):
        consensus = mean_votes(evidence, weights, ridge)
        weights = view_weights(agreement(evidence, consensus))
        # Parts whose views agree less, such as small ones, must not lose to others by that. What is left over for the
        # background has no such right: holes in masks are of that kind.
        scale = (weights * mass).sum(0) / mass.sum(0).clamp_min(1e-12)
        scale[0] = 1
        weights = confidence * weights / scale.clamp_min(1e-12)
        report("view weights", done + 1, rounds)
    return weights


@torch.no_grad()
def agreement(evidence: Evidence, labels: Float[Tensor, "N D"]) -> Float[Tensor, "C D"]:
    """Soft intersection over union of drawn and given shares on the object; 1 where both are empty."""
    found = []
    for view in range(len(evidence.cameras)):
        solid = (evidence.alphas[view] >= 0.5)[..., None]
        drawn = composite(evidence.projected(view), labels[None])[0][0].clamp_(0, 1) * solid
        given = evidence.shares(view)[0]
        common = torch.minimum(drawn, given).sum((0, 1))
        union = drawn.sum((0, 1)) + given.sum((0, 1)) - common
        # less than a pixel of either is nothing to agree on
        found.append(torch.where(union < 1, 1.0, common / union.clamp_min(1)))
    return torch.stack(found)


def view_weights(agreements: Float[Tensor, "C D"]) -> Float[Tensor, "C D"]:
    return ((agreements - 0.2) / 0.5).clamp(0.1, 1)
