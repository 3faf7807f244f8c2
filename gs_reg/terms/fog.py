"""The fog guard of edits: Gaussians of the part should be there or not, and no larger than the part's were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor

from gs_reg.sums import ordered_mean
from gs_reg.terms import Context
from gs_reg.types import Splats


@runtime_checkable
class EditedPart(Protocol):
    """Gaussians of a part, marked by the column `edited`, that knows how large they were."""

    def scale_limit(self) -> Tensor:
        """Scale of the part before the edit that 99 % of its Gaussians did not exceed."""
        ...


def part_of(splats: Splats) -> Splats:
    """The rows of the edit."""
    return splats.rows(splats.extra["edited"] > 0)


@dataclass(frozen=True)
class OpacityEntropy:
    """Mean entropy of the part's opacities, in nats: 0 where each is 0 or 1."""

    needs: ClassVar[type] = EditedPart

    weight: float = 0.01
    """Weight of the entropy of opacities."""

    def __call__(self, context: Context) -> Tensor:
        opacities = part_of(context.splats).opacities.clamp(1e-6, 1 - 1e-6)
        return ordered_mean(-opacities * opacities.log() - (1 - opacities) * (-opacities).log1p())


@dataclass(frozen=True)
class LargeScales:
    """Mean of how far the longest axes exceed the part's 99th percentile before the edit, in units of that."""

    needs: ClassVar[type] = EditedPart

    weight: float = 0.1
    """Weight of scales above what the part had."""

    def __call__(self, context: Context) -> Tensor:
        longest = part_of(context.splats).scales.amax(1)
        return ordered_mean((longest / context.model.scale_limit() - 1).clamp_min(0))
