"""Gaussians that no expression moves or changes, which can leave out both fields."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.fields.coarse import CoarseField
from gs_reg.fields.detail import HEADS, DetailField

STILL, FAINT = 2e-4, 0.01
"""Largest offset in units (0.05 mm) and largest share of a head's bound of a Gaussian that stays as it is."""


@torch.no_grad()
def farthest(
    coarse: CoarseField,
    x: Float[Tensor, "N 3"],
    label: Float[Tensor, "N L"],
    gates: Float[Tensor, "N G"] | None,
    codes: Float[Tensor, "T D"],
) -> Float[Tensor, "N"]:
    """How far the coarse field moves each Gaussian, under the code that does so most."""
    prepared, most = coarse.prepare(x, label, gates, jacobian=False), x.new_zeros(len(x))
    for z in codes:
        most = torch.maximum(most, coarse.at(prepared, z)[0].norm(dim=1))
    return most


@torch.no_grad()
def moving(
    coarse: CoarseField | None,
    detail: DetailField | None,
    x: Float[Tensor, "N 3"],
    latent: Float[Tensor, "N L"],
    gates: Float[Tensor, "N G"] | None,
    codes: Float[Tensor, "T D"],
    threshold: float = STILL,
    label: Float[Tensor, "N L"] | None = None,
    lively: Float[Tensor, "N"] | None = None,
) -> Bool[Tensor, "N"]:
    """Which Gaussians some code moves by the threshold or more, or changes by 1 % of a bound of the detail field.

    `label` is what the coarse field reads as latent vectors, where that is not `latent`; what the detail field says
    counts `lively` times.
    """
    moves = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    if coarse is not None:
        moves = farthest(coarse, x, latent if label is None else label, gates, codes) >= threshold
    if detail is None:
        return moves
    for z in codes:
        residuals = detail(x, latent, gates, z)
        residuals = residuals if lively is None else residuals.times(lively)
        for name, (_, bound) in HEADS.items():
            if (value := getattr(residuals, name)) is not None:
                moves |= value.abs().reshape(len(x), -1).amax(1) >= FAINT * bound
    return moves
