"""Which part is seen at a point of a picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.render import RenderConfig, composite, project
from gs_reg.types import Cameras, Splats

SOLID = 0.5
"""Alpha of a point that shows something."""


@dataclass(frozen=True)
class Picked:
    label: int
    """Of the part; 0 = background."""
    share: float
    """Of what is seen there."""


@torch.no_grad()
def pick(
    splats: Splats, ids: Int[Tensor, "N"], labels: int, camera: Cameras, x: float, y: float, config: RenderConfig
) -> Picked | None:
    """The label that most of the pixel at these shares of the width and height shows; None = nothing is there."""
    column = min(max(int(x * camera.width), 0), camera.width - 1)
    row = min(max(int(y * camera.height), 0), camera.height - 1)
    pixel = camera.cropped(column, row, 1, 1)
    channels: Float[Tensor, "1 N D"] = torch.nn.functional.one_hot(ids, labels).to(splats.means)[None]
    shares, alphas = composite(project(splats, pixel.to(splats.means.device), config), channels)
    if float(alphas) < SOLID:
        return None
    share, label = (shares[0, 0, 0] / alphas[0, 0, 0]).max(0)
    return Picked(int(label), float(share))
