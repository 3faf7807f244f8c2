"""Random initialisation inside an object's silhouettes, where photos have alpha and nothing is known of its depth."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.geometry import project
from gs_reg.neighbors import nearest
from gs_reg.sh import rgb_to_sh
from gs_reg.types import Splats, Views

from .random import OPACITY

DRAWS = 65_536
"""Points tried at a time."""
ROUNDS = 200
"""After so many of them without enough points inside, the silhouettes have none in common."""


def hull_splats(views: Views, count: int, center: Float[Tensor, "3"], radius: float, seed: int) -> Splats:
    """`count` grey splats, uniform in the part of a cube that every view's alpha covers (the visual hull).

    The cube has its centre at `center` and half its side is `radius`. Scales are the mean distance to the three
    nearest neighbours.

    Raises:
        InputError: views without alphas, or silhouettes that have next to nothing in common.
    """
    generator, found, kept = torch.Generator().manual_seed(seed), [], 0
    for _ in range(ROUNDS):
        points = center + radius * (2 * torch.rand(DRAWS, 3, generator=generator) - 1)
        found.append(points[inside_silhouettes(views, points)])
        kept += len(found[-1])
        if kept >= count:
            break
    else:
        raise InputError(f"silhouettes: {kept} of {ROUNDS * DRAWS} points are inside all of them: is radius right?")
    means = torch.cat(found)[:count]
    sizes = nearest(means, 3)[1].sqrt().mean(1, keepdim=True)
    return Splats(
        means=means,
        quats=torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1),
        log_scales=sizes.clamp_min(1e-8).log().repeat(1, 3),
        opacity_logits=torch.full((count,), OPACITY).logit(),
        sh=rgb_to_sh(torch.full((count, 1, 3), 0.5)),
    )


def inside_silhouettes(views: Views, points: Float[Tensor, "P 3"]) -> Bool[Tensor, "P"]:
    """Whether each point is in front of every camera, and at a pixel of alpha 0.5 at least wherever one has it in its
    picture."""
    if views.alphas is None:
        raise InputError("silhouettes: the views have no alphas")
    height, width = views.alphas.shape[1:]
    inside = torch.ones(len(points), dtype=torch.bool)
    for camera, alpha in zip(range(len(views)), views.alphas, strict=True):
        (xy,), (z,) = project(views.cameras[camera], points[inside])
        pixels = xy.floor().nan_to_num(-1).clamp(-1, max(width, height)).long()
        x, y = pixels.unbind(-1)
        shown = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        solid = alpha[y.clamp(0, height - 1), x.clamp(0, width - 1)] >= 0.5
        inside[inside.nonzero()[:, 0]] = (z > 0) & (solid | ~shown)
    return inside
