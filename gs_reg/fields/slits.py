"""Slits of a head, as between the lips: neighbours in the canonical cloud that some expression moves apart."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.fields.coarse import CoarseField

SLACK, STRETCH = 0.008, 0.5
"""An edge is cut where its ends move apart by more than SLACK + STRETCH times its length, in units."""
KEPT = 4
"""Edges of each node that are never cut: those whose ends move apart least."""


def farthest_codes(codes: Float[Tensor, "T D"], count: int = 64) -> Float[Tensor, "P D"]:
    """At most `count` different codes that lie far apart: each the farthest from those before, the first from the mean.

    Distances are in standard deviations of each channel.
    """
    scale = codes.std(0, correction=0)
    standard = (codes - codes.mean(0)) / torch.where(scale > 0, scale, torch.ones_like(scale))
    gaps, chosen = standard.norm(dim=1), []
    while len(chosen) < min(count, len(codes)):
        best = int(gaps.argmax())
        if chosen and not gaps[best] > 0:
            break
        chosen.append(best)
        distance = (standard - standard[best]).norm(dim=1)
        gaps = distance if len(chosen) == 1 else torch.minimum(gaps, distance)
    return codes[chosen]


@torch.no_grad()
def cut_slits(
    coarse: CoarseField,
    x: Float[Tensor, "N 3"],
    latent: Float[Tensor, "N L"],
    gates: Float[Tensor, "N G"] | None,
    probes: Float[Tensor, "P D"],
    neighbors: Int[Tensor, "N k"],
    weights: Float[Tensor, "N k"],
) -> Float[Tensor, "N k"]:
    """The weights with 0 for edges across a slit; those of a node sum to what they did before."""
    index = neighbors.long()
    prepared = coarse.prepare(x, latent, gates, jacobian=False)
    apart = torch.zeros_like(weights)
    for z in probes:
        offset = coarse.at(prepared, z)[0]
        apart = torch.maximum(apart, (offset[index] - offset[:, None]).norm(dim=2))
    lengths = (x[index] - x[:, None]).norm(dim=2)
    kept = apart <= SLACK + STRETCH * lengths
    least = apart.argsort(dim=1, stable=True)[:, :KEPT]
    kept = kept.scatter(1, least, True)
    cut = weights * kept
    tiny = torch.finfo(weights.dtype).tiny
    return cut * (weights.sum(1, keepdim=True) / cut.sum(1, keepdim=True).clamp_min(tiny))
