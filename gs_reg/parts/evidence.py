"""What the pixels of all views say of each Gaussian, gathered once for every fit and round of view weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.parts.types import PartMaps
from gs_reg.render import Projected, RenderConfig, composite, lift, project
from gs_reg.types import Cameras, Splats

Report = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def silent(what: str, done: int, total: int) -> None:
    """A Report that says nothing."""


@dataclass(frozen=True)
class Evidence:
    """N Gaussians in C views with the teacher's maps. Takes 4 C (N D + H W) bytes, D the parts and the background."""

    splats: Splats
    cameras: Cameras
    maps: PartMaps
    config: RenderConfig
    alphas: Float[Tensor, "C H W"]
    """Of the rendered views."""
    votes: Float[Tensor, "C N D"]
    """Sums over solid pixels of blending weight times share of each label; over labels they add up to the weights."""

    def projected(self, view: int) -> Projected:
        return project(self.splats, self.cameras[view], self.config)

    def shares(self, view: int) -> Float[Tensor, "1 H W D"]:
        """Those of the teacher; 0 where alpha is below one half, as such pixels say nothing of what is in them."""
        return _shares(self.maps, self.alphas, view)

    @property
    def confidence(self) -> Float[Tensor, "C D"]:
        """Of the labels in each view. Where one part is not spoken of, nor is what would be left over for it."""
        weights = self.maps.weights
        return torch.cat([weights.amin(1, keepdim=True), weights], 1)

    @property
    def seen(self) -> Float[Tensor, "N"]:
        """Blending weights summed over the pixels of all views of which the teacher says anything."""
        spoken = (self.confidence > 0).to(self.votes)
        return torch.einsum("cnd,cd->n", self.votes, spoken)


@torch.no_grad()
def gather(
    splats: Splats,
    cameras: Cameras,
    maps: PartMaps,
    config: RenderConfig,
    report: Report = silent,
    *,
    hard: bool = False,
) -> Evidence:
    """One compositing of alpha and one lift of the shares a view.

    `hard`: each pixel votes for its most likely label alone, so that what is vague in every view is decided in each.

    Raises:
        InputError: splats that are not finite, maps of other views, or cameras that see nothing.
    """
    _check(splats, cameras, maps)
    count, labels = len(splats), len(maps.names) + 1
    alphas = splats.means.new_empty(len(cameras), cameras.height, cameras.width)
    votes = splats.means.new_empty(len(cameras), count, labels)
    ones = splats.means.new_ones(1, count, 1)
    maps = replace(maps, maps=maps.maps.clone()) if hard else maps
    for view in range(len(cameras)):
        projected = project(splats, cameras[view], config)
        alphas[view] = composite(projected, ones)[1][0, ..., 0]
        if hard:
            likely = maps[view].shares(alphas[view : view + 1])[0].argmax(0)
            maps.maps[view] = F.one_hot(likely, labels)[..., 1:].movedim(-1, 0).to(maps.maps)
        votes[view] = lift(projected, _shares(maps, alphas, view)).sums[0]
        report("votes", view + 1, len(cameras))
    if not votes.any():
        raise InputError(f"cameras: none of the {len(cameras)} sees any of the {count} splats")
    return Evidence(splats, cameras, maps, config, alphas, votes)


def _shares(maps: PartMaps, alphas: Float[Tensor, "C H W"], view: int) -> Float[Tensor, "1 H W D"]:
    alpha = alphas[view : view + 1]
    return maps[view].shares(alpha).movedim(1, -1) * (alpha >= 0.5)[..., None]


def _check(splats: Splats, cameras: Cameras, maps: PartMaps) -> None:
    good: Bool[Tensor, "N"] = splats.finite
    if not good.all():
        raise InputError(f"splats: {int((~good).sum())} of {len(good)} rows are not finite; remove them first")
    expected = [len(cameras), len(maps.names), cameras.height, cameras.width]
    if list(maps.maps.shape) != expected:
        raise InputError(f"part maps: expected {expected} for these cameras and names, got {list(maps.maps.shape)}")
    if not maps.names:
        raise InputError("part maps: expected at least one part, got none")
