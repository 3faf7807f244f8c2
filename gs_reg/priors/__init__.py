"""Expression priors of heads: one Protocol, one file a prior."""

from __future__ import annotations

from gs_reg.priors.arkit import ARKIT
from gs_reg.priors.regions import REGIONS, region_masks
from gs_reg.priors.types import UNIT_M, ExpressionPrior, HeadPose, Part, SurfaceSample, Track

__all__ = [
    "ARKIT",
    "REGIONS",
    "UNIT_M",
    "ExpressionPrior",
    "HeadPose",
    "Part",
    "SurfaceSample",
    "Track",
    "region_masks",
]
