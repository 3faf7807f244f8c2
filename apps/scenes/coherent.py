"""Initialisation of CoherentGS: relative disparity, flow, alignment of depths (stage A), depth layers, decoders."""

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
    """The model before training.

    The published method takes disparity and flow from networks. Here, relative disparity is computed from the measured
    depth, and where `flow` is None, flow is computed from it too.
    """
    say(
        f"stage A from measured depth, made relative, and flow from {'that depth' if flow is None else '--flow.source'}"
    )
    disparities = [relative_disparity(d.depth) for d in depths]
    by_depth = DepthFlow({view.names[0]: d.depth for view, d in zip(views, depths, strict=True)})
    pairs = flow_pairs(views, flow or by_depth)
    matches = [ray_matches(views, pairs, i) for i in range(len(views))]
    initial = _initial_depths(views, disparities, matches, stage)
    layers = [depth_layers(disparity, stage.decoders.layers) for disparity in disparities]
    layered = [replace(view, layers=layer[None]) for view, layer in zip(views, layers, strict=True)]
    pairs_of_maps = [(match.inverse_depth, match.pixels) for match in matches]
    return Coherent.from_views(layered, initial, pairs_of_maps, stage.decoders, rows, seed)


def _initial_depths(
    views: Sequence[Views], disparities: Sequence[torch.Tensor], matches: Sequence[RayMatches], stage: CoherentStage
) -> list[torch.Tensor]:
    """Aligned depth of every photo; a photo with too few flow matches takes the median scale of all matches.

    Raises:
        InputError: no photo has enough matches.
    """
    needed = FEWEST_MATCHES if stage.align else 1  # a single scale for all photos needs only one match
    if max(match.count for match in matches) < needed:
        raise InputError(f"stage A: no photo has {needed} flow matches with the others; do they overlap?")
    scale, depths = common_scale(disparities, matches), []
    for view, disparity, photo_matches in zip(views, disparities, matches, strict=True):
        if stage.align and photo_matches.count >= FEWEST_MATCHES:
            depth, affine = align(view, disparity, photo_matches, stage.bend or None)
            say(f"  {view.names[0]}: 1/z = {affine.scale:.4g} d + {affine.offset:.4g}, off by {affine.sd:.2f} px")
            depths.append(depth.depth)
        else:
            reason = f"{photo_matches.count} flow matches are too few to align it" if stage.align else "not aligned"
            say(f"  {view.names[0]}: {reason}; 1/z = {scale:.4g} d, from the median match of all photos")
            depths.append(1 / (scale * disparity))
    return depths
