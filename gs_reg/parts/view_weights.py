"""How far each view is believed: by how well it agrees with what all views together say."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.parts.evidence import Evidence
from gs_reg.render import composite
from gs_reg.sh import sh_sums


@torch.no_grad()
def agreement(evidence: Evidence, sh: Float[Tensor, "N K D"]) -> Float[Tensor, "C D"]:
    """Soft intersection over union of drawn and given shares on the object; 1 where both are empty."""
    cameras, degree = evidence.cameras, round(sh.shape[1] ** 0.5) - 1
    found = []
    for view in range(len(cameras)):
        labels = sh_sums(sh, evidence.splats.means, cameras[view].centers, degree)
        solid = evidence.alphas[view] >= 0.5
        drawn = composite(evidence.projected(view), labels)[0][0][solid].clamp_(0, 1)
        given = evidence.shares(view)[0][solid]
        common = torch.minimum(drawn, given).sum(0)
        union = drawn.sum(0) + given.sum(0) - common
        # less than a pixel of either is nothing to agree on
        found.append(torch.where(union < 1, 1.0, common / union.clamp_min(1)))
    return torch.stack(found)


def view_weights(agreements: Float[Tensor, "C D"]) -> Float[Tensor, "C D"]:
    return ((agreements - 0.2) / 0.5).clamp(0.1, 1)
