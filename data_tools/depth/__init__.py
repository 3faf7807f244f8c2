"""Depth of every pixel of posed photos: `mvs` measures it, `sources` chooses where it comes from."""

from .mvs.estimate import estimate_depths
from .types import DepthConfig, DepthMap

__all__ = ["DepthConfig", "DepthMap", "estimate_depths"]
