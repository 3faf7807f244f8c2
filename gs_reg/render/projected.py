"""What projection hands on to compositing and lifting."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.render.config import RenderConfig
from gs_reg.types import Cameras


@dataclass(frozen=True)
class Projected:
    """N splats seen by C cameras of one image size; rows of splats that a camera does not see are 0."""

    means2d: Float[Tensor, "C N 2"]
    """Centres in pixels."""
    depths: Float[Tensor, "C N"]
    """Camera-space z."""
    conics: Float[Tensor, "C N 3"]
    """a, b, c of the inverse 2D covariance: a dx^2 + 2 b dx dy + c dy^2."""
    opacities: Float[Tensor, "C N"]
    """With the antialiasing factor."""
    radii: Int[Tensor, "C N 2"]
    """Half extents in pixels; 0 = culled."""
    width: int
    height: int
    config: RenderConfig
    """With the backend that was chosen."""
    shapes: Float[Tensor, "C N 6"] | None = None
    """The same ellipses as sums of squares, where the backend is native: P, k, Q, log2 opacity, half extents. Values
    only: gradients are those of conics and opacities."""


@dataclass(frozen=True)
class Lifted:
    """Sums over the pixels of each camera's maps, with w the weight with which a splat is blended into a pixel."""

    sums: Float[Tensor, "C N D"]
    """Of w times the map."""
    weights: Float[Tensor, "C N"]
    """Of w."""
    largest: Float[Tensor, "C N"]
    """The largest w."""


def viewpoints(cameras: Cameras, degree: int) -> Float[Tensor, "C 3"]:
    """Camera centres. Colour of degree 0 has no use for them, so that a singular viewmat may be drawn in it."""
    return cameras.centers if degree > 0 else cameras.viewmats[:, :3, 3]


def with_depths(colors: Float[Tensor, "C N 3"], depths: Float[Tensor, "C N"]) -> Float[Tensor, "C N 4"]:
    return torch.cat([colors, depths[..., None]], dim=-1)
