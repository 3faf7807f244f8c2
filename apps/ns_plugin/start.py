"""The Gaussians before the first step: at the measured depth of the photos' pixels, at given points, or at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.data_tools.depth.sources.mvs import MultiViewStereo
from gs_reg.data_tools.depth.sources.types import DepthSourceConfig
from gs_reg.data_tools.depth.sparse import find_overlaps
from gs_reg.errors import InputError
from gs_reg.geometry import project
from gs_reg.init.fill import FillConfig, fill_unseen
from gs_reg.init.random import random_splats
from gs_reg.models.free import Free, FreeConfig
from gs_reg.models.pixel_aligned import PixelAligned, PixelAlignedConfig
from gs_reg.neighbors import nearest
from gs_reg.sh import rgb_to_sh
from gs_reg.types import Splats, Views

Start = Literal["depth", "points", "random"]
PIXELS_PER_GAUSSIAN = 9
"""Of a random start, as in `gs-reg reconstruct --preset plain`."""
SWEEP_PIXELS = 800_000


def start_splats(
    views: Sequence[Views], start: Start, points: Float[Tensor, "P 3"] | None, model: FreeConfig, stride: int, seed: int
) -> Splats:
    """Splats with `extra["filled"]`, on the CPU.

    Raises:
        InputError: photos that share nothing, or points that are asked for and not there.
    """
    if start == "points":
        return Free.from_splats(at_points(views, points), model)()
    if start == "random":
        bounds = [overlap.bounds for overlap in find_overlaps(views, DepthSourceConfig().sources)]
        count = sum(view.photos[0, ..., 0].numel() for view in views) // PIXELS_PER_GAUSSIAN
        return Free.from_splats(random_splats([v.cameras for v in views], bounds, count, seed), model)()
    depths = MultiViewStereo(DepthSourceConfig(sweep_pixels=SWEEP_PIXELS))(views).maps
    maps, spreads = [d.depth for d in depths], [d.sd * d.depth for d in depths]
    config = PixelAlignedConfig(stride=stride)
    dense = PixelAligned.from_views(views, maps, replace(config, stride=1), spreads)
    on_rays = dense if stride == 1 else PixelAligned.from_views(views, maps, config, spreads)
    filled = fill_unseen(dense(), [view.cameras for view in views], FillConfig(border=0.15, stride=4))
    return Free.from_splats(on_rays.extended(filled)(), model)()


def at_points(views: Sequence[Views], points: Float[Tensor, "P 3"] | None) -> Splats:
    """One Gaussian a point, as large as the mean distance to its three neighbours, in the colour of a photo's pixel."""
    if points is None or len(points) < 4:
        raise InputError("start points: the data have none: use --pipeline.model.start random or depth")
    means = points.cpu().float()
    sizes = nearest(means, 3)[1].sqrt().mean(1, keepdim=True)
    return Splats(
        means=means,
        quats=torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(len(means), 1),
        log_scales=sizes.clamp_min(1e-8).log().repeat(1, 3),
        opacity_logits=torch.zeros(len(means)),
        sh=rgb_to_sh(photo_colors(views, means))[:, None],
    )


def photo_colors(views: Sequence[Views], points: Float[Tensor, "P 3"]) -> Float[Tensor, "P 3"]:
    """Mean colour of each point over the photos that it lies in; grey where it lies in none."""
    total, count = torch.zeros_like(points), torch.zeros(len(points), 1)
    for view in views:
        pixels, depths = (x[0] for x in project(view.cameras, points))
        size = torch.tensor([view.cameras.width, view.cameras.height])
        inside = (depths > 0) & (pixels >= 0).all(1) & (pixels < size).all(1)
        x, y = pixels[inside].long().unbind(1)
        total[inside] += view.photos[0, y, x]
        count[inside] += 1
    return torch.where(count > 0, total / count.clamp_min(1), torch.full_like(total, 0.5))
