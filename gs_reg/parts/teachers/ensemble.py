"""The teacher `ensemble:a+b`: several teachers, weighed by how far they agree with each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.types import Cameras

from ..prompts import PartPrompt
from ..types import PartMaps
from .base import PartTeacher

LEAST_AGREEMENT = 0.2
"""Mean IoU with the others below which a member has no say."""


class Ensemble:
    """The weighted mean of the members' maps; a member's weight is its mean IoU with the others, 0 below 0.2."""

    def __init__(self, members: Mapping[str, PartTeacher]):
        if len(members) < 2:
            raise InputError(f"ensemble: expected at least 2 teachers, got {', '.join(members) or 'none'}")
        self.members = dict(members)
        self.notes: dict[str, Any] = {}

    def prepare(self, prompt: PartPrompt) -> None:
        for member in self.members.values():
            member.prepare(prompt)

    def maps(self, pictures: Float[Tensor, "C H W 3"], alphas: Float[Tensor, "C H W"], cameras: Cameras) -> PartMaps:
        said = [member.maps(pictures, alphas, cameras) for member in self.members.values()]
        agreement = [sum(iou(one, other) for other in said if other is not one) / (len(said) - 1) for one in said]
        by_name = dict(zip(self.members, agreement, strict=True))
        self.notes = {"iou": {name: round(value, 4) for name, value in by_name.items()}}
        self.notes["members"] = {name: member.notes for name, member in self.members.items() if member.notes}
        kept = [value if value >= LEAST_AGREEMENT else 0.0 for value in agreement]
        if not any(kept):
            listed = ", ".join(f"{name} {value:.2f}" for name, value in by_name.items())
            raise InputError(f"ensemble: its teachers do not agree (mean IoU with the others: {listed}): use one alone")
        return weighted_mean(said, kept)

    def close(self) -> None:
        for member in self.members.values():
            member.close()


def iou(a: PartMaps, b: PartMaps) -> float:
    """Mean over the parts, of all views in which both say something; 0 where there are none.

    Pixels belong to a part from 0.5 on.
    """
    both = ((a.weights > 0) & (b.weights > 0))[:, :, None, None]
    mine, its = (a.maps >= 0.5) & both, (b.maps >= 0.5) & both
    shared, union = (mine & its).sum((0, 2, 3)), (mine | its).sum((0, 2, 3))
    spoken = both.any(0).flatten()
    # two maps of nothing agree
    values = torch.where(union > 0, shared / union.clamp(min=1), 1.0)[spoken]
    return float(values.mean()) if len(values) else 0.0


def weighted_mean(said: Sequence[PartMaps], weights: Sequence[float]) -> PartMaps:
    """By the weights of the members times their own weights of view and part."""
    shares = torch.stack([weight * maps.weights for weight, maps in zip(weights, said, strict=True)])
    total = shares.sum(0)
    shares = shares / total.clamp(min=torch.finfo(shares.dtype).tiny)
    mean = sum(share[:, :, None, None] * maps.maps for share, maps in zip(shares, said, strict=True))
    assert isinstance(mean, torch.Tensor)
    return PartMaps(said[0].names, mean, total / sum(weights))
