"""The start of CoherentGS: relative disparity, flow between the photos, stage A, depth layers, decoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from gs_reg.data_tools.depth import DepthMap
from gs_reg.data_tools.depth.align import FEWEST_MATCHES, align, common_scale, relative_disparity
from gs_reg.data_tools.depth.layers import depth_layers
from gs_reg.data_tools.depth.ray_matches import RayMatches, ray_matches
from gs_reg.data_tools.flow.pairs import DepthFlow, Flow, flow_pairs
from gs_reg.errors import InputError
from gs_reg.models.coherent import Coherent
from gs_reg.models.pixel_aligned import PixelAlignedConfig
from gs_reg.types import Views

from ..runs.progress import say
from .flags import CoherentStage


def coherent_start(
    views: Sequence[Views],
    depths: Sequence[DepthMap],
    flow: Flow | None,
    stage: CoherentStage,
    rows: PixelAlignedConfig,
    seed: int,
) -> Coherent:
    """Measured depth, made relative, stands in for a depth network, and where `flow` is None for a flow network too."""
    say(
        f"stage A from measured depth, made relative, and flow from {'that depth' if flow is None else '--flow.source'}"
    )
    disparities = [relative_disparity(d.depth) for d in depths]
    by_depth = DepthFlow({view.names[0]: d.depth for view, d in zip(views, depths, strict=True)})
    pairs = flow_pairs(views, flow or by_depth)
    matches = [ray_matches(views, pairs, i) for i in range(len(views))]
    start = _aligned(views, disparities, matches, stage)
    layers = [depth_layers(disparity, stage.decoders.layers) for disparity in disparities]
    layered = [replace(view, layers=layer[None]) for view, layer in zip(views, layers, strict=True)]
    found = [(match.inverse_depth, match.pixels) for match in matches]
    return Coherent.from_views(layered, start, found, stage.decoders, rows, seed)


def _aligned(
    views: Sequence[Views], disparities: Sequence[torch.Tensor], matches: Sequence[RayMatches], stage: CoherentStage
) -> list[torch.Tensor]:
    """Depth of every photo. One that flow ties to no other takes the scale of the median match of all photos.

    Raises:
        InputError: no photo has enough matches.
    """
    fewest = FEWEST_MATCHES if stage.align else 1  # one scale for all photos needs no more
    if max(match.count for match in matches) < fewest:
        raise InputError(f"stage A: no photo has {fewest} flow matches with the others; do they overlap?")
    scale, start = common_scale(disparities, matches), []
    for view, disparity, found in zip(views, disparities, matches, strict=True):
        if stage.align and found.count >= FEWEST_MATCHES:
            depth, affine = align(view, disparity, found, stage.bend or None)
            say(f"  {view.names[0]}: 1/z = {affine.scale:.4g} d + {affine.offset:.4g}, off by {affine.sd:.2f} px")
            start.append(depth.depth)
        else:
            why = f"{found.count} flow matches are too few to align it" if stage.align else "not aligned"
            say(f"  {view.names[0]}: {why}; 1/z = {scale:.4g} d, from the median match of all photos")
            start.append(1 / (scale * disparity))
    return start
