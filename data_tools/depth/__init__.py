"""Depth of every pixel of posed photos. Networks for depth or flow come later through the same interface."""

from .mvs.estimate import estimate_depths
from .types import DepthConfig, DepthMap

__all__ = ["DepthConfig", "DepthMap", "estimate_depths"]
