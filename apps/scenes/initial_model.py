"""The model before training: Gaussians at the measured depth of the photos' pixels, or random ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from gs_reg.data_tools.depth import DepthMap
from gs_reg.data_tools.depth.sources import Depths, DepthSource
from gs_reg.data_tools.depth.sparse import find_overlaps
from gs_reg.init.fill import fill_unseen
from gs_reg.init.random import random_splats
from gs_reg.models.coherent import Coherent
from gs_reg.models.free import Free
from gs_reg.models.pixel_aligned import PixelAligned, PixelAlignedConfig
from gs_reg.render import render
from gs_reg.state import Model
from gs_reg.types import Splats, Views

from ..runs.progress import say, stage_bar
from .coherent import coherent_start
from .config import Config
from .sources import Sources

PIXELS_PER_GAUSSIAN = 9
"""The number of random Gaussians is the number of pixels of all photos over this."""


def initial_model(views: Sequence[Views], sources: Sources, config: Config) -> tuple[Depths, Model]:
    """The initial depth of every photo, and the model of the first stage."""
    if config.start == "random":
        model = random_model(views, config)
        return Depths(rendered_depths(model(), views), {"used as": "nothing, as the start is random"}), model
    depths = measure_depths(views, sources.depth)
    return depths, model_on_rays(views, depths.maps, sources, config)


def measure_depths(views: Sequence[Views], source: DepthSource) -> Depths:
    """Depth of every photo from its source, with a progress bar and a line with the confident share of pixels."""
    start = time.perf_counter()
    with stage_bar("depth") as progress:
        depths = source(views, progress)
    share = sum(float(d.confident.float().mean()) for d in depths.maps) / len(depths.maps)
    say(f"depth: {share:.0%} of pixels measured, the rest filled, {time.perf_counter() - start:.1f} s")
    return depths


def model_on_rays(
    views: Sequence[Views], depths: Sequence[DepthMap], sources: Sources, config: Config
) -> PixelAligned | Coherent:
    """Gaussians on the rays of the photos, and filled ones for regions that no photo shows.

    Filling starts from Gaussians for all pixels, whatever the stride of the model.
    """
    maps, spreads = [d.depth for d in depths], [d.sd * d.depth for d in depths]

    def on_rays(model: PixelAlignedConfig) -> PixelAligned:
        return PixelAligned.from_views(views, maps, model, spreads)

    dense = on_rays(replace(config.model, stride=1))
    if config.coherent.on:
        flow = sources.flow if config.coherent.flow == "source" else None
        model = coherent_start(views, depths, flow, config.coherent, config.model, config.seed)
    else:
        model = dense if config.model.stride == 1 else on_rays(config.model)
    with torch.no_grad():
        return model.extended(fill_unseen(dense(), [view.cameras for view in views], config.fill))


def random_model(views: Sequence[Views], config: Config) -> Free:
    """Random Gaussians between the nearest and the farthest point that the photos match."""
    bounds = [overlap.bounds for overlap in find_overlaps(views, config.depth.sources, config.depth.aliked)]
    count = sum(view.photos[0, ..., 0].numel() for view in views) // PIXELS_PER_GAUSSIAN
    return Free.from_splats(random_splats([v.cameras for v in views], bounds, count, config.seed), config.free.model)


@torch.no_grad()
def rendered_depths(splats: Splats, views: Sequence[Views]) -> tuple[DepthMap, ...]:
    """Depth maps rendered from the splats, with no pixel marked as measured."""
    maps = []
    for view in views:
        depth = render(splats, view.cameras).expected_depths[0, ..., 0]
        unknown = torch.zeros_like(depth, dtype=torch.bool)
        maps.append(DepthMap(depth, torch.full_like(depth, torch.inf), unknown, unknown.long()))
    return tuple(maps)
