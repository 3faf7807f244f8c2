"""Optical flow as depth: the inverse depth on a pixel's ray that each flow match to another photo stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.geometry import pixel_centers
from gs_reg.types import Views

from ..flow.pairs import FlowPair
from .triangulate import ray_in_other


@dataclass(frozen=True)
class RayMatches:
    """Flow matches of one photo in J others, as inverse depths along its rays."""

    inverse_depth: Float[Tensor, "H W J"]
    """Where the ray passes nearest to the match, in the other photo's pixels; 0 without a match."""
    pixels: Float[Tensor, "H W J"]
    """By how many pixels of the other photo one unit of inverse depth moves the point; 0 without a match."""

    @property
    def count(self) -> int:
        return int((self.pixels > 0).sum())


def ray_matches(views: Sequence[Views], pairs: Sequence[FlowPair], i: int) -> RayMatches:
    """The pairs that start in view i, as inverse depths; matches behind a camera or without parallax are left out."""
    view = views[i]
    centers = pixel_centers(view.cameras.width, view.cameras.height, view.photos)
    none = centers.new_zeros(*centers.shape[:2], 0)
    depths, shares = [none], [none]
    for pair in pairs:
        if pair.i != i:
            continue
        ray, shift = ray_in_other(view.cameras, views[pair.j].cameras, centers)
        match = (centers + pair.flow).double()
        a = ray[..., :2] - match * ray[..., 2:]
        c = match * shift[2] - shift[:2]
        # the projection A + b w is nearest to the match at this w, up to the division by depth: see triangulate
        w = (a * c).sum(-1) / c.square().sum(-1).clamp_min(1e-300)
        depth = ray[..., 2] + shift[2] * w
        pixels = c.norm(dim=-1) / depth.clamp_min(1e-12)
        used = pair.mask & (depth > 1e-12) & (pixels > 0) & (w >= 0)
        depths.append(torch.where(used, w, 0.0).to(centers)[..., None])
        shares.append(torch.where(used, pixels, 0.0).to(centers)[..., None])
    return RayMatches(torch.cat(depths, -1), torch.cat(shares, -1))
