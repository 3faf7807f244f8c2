"""Depth maps, and the flags of multi-view stereo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Bool, Float, Int
from torch import Tensor

Progress = Callable[[str, float], None]
"""Is told the stage of a long job and the share of the whole that is done."""


@dataclass(frozen=True)
class DepthMap:
    """Depth of every pixel of one view."""

    depth: Float[Tensor, "H W"]
    """Camera-space z, above 0 for every pixel."""
    sd: Float[Tensor, "H W"]
    """Standard deviation of the inverse depth; large where the depth was only filled in."""
    confident: Bool[Tensor, "H W"]
    """Measured by matching and confirmed by another view, not filled in."""
    views: Int[Tensor, "H W"]
    """Number of other views that confirm the pixel."""


@dataclass(frozen=True)
class DepthConfig:
    """How depth is found from posed photos without a network."""

    sources: int = 4
    """Most other photos that one photo is matched with, those with the best overlap and parallax first."""
    max_planes: int = 256
    """Most depths tried for a pixel; fewer when a step of 0.7 pixels already covers the range."""
    sweep_pixels: int = 500_000
    """Photos with more pixels are searched at this size and then refined at their own."""
    smoothness: float = 10.0
    """How strongly neighbours of like colour are drawn to like depth; 0 leaves the matches as they are."""
    aliked: Path | None = None
    """File of ALIKED weights, such as aliked-n16.pth; without it SIFT finds the points that photos share."""
    threads: int = 2
    """Photos searched at the same time; each takes about 4 bytes per pixel and plane."""
