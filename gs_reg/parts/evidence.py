"""What the pixels of all views say of each Gaussian, gathered once for every fit and round of view weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
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
    likely: UInt8[Tensor, "C H W"] | None = None
    """The one label of each pixel, where it votes for its most likely one alone."""

    def projected(self, view: int) -> Projected:
        return project(self.splats, self.cameras[view], self.config)

    def shares(self, view: int) -> Float[Tensor, "1 H W D"]:
        """Those of the teacher; 0 where alpha is below one half, as such pixels say nothing of what is in them."""
        solid = (self.alphas[view : view + 1] >= 0.5)[..., None]
        if self.likely is None:
            return self.maps[view].shares(self.alphas[view : view + 1]).movedim(1, -1) * solid
        rows, labels = self.likely[view, None, ..., None].long(), len(self.maps.names) + 1
        return torch.zeros_like(self.alphas[view, None, ..., None].expand(-1, -1, -1, labels)).scatter_(
            -1, rows, solid.to(self.alphas)
        )

    @property
    def confidence(self) -> Float[Tensor, "C D"]:
        """Of the labels in each view. Where one part is not spoken of, nor is what would be left over for it."""
        weights = self.maps.weights
        return torch.cat([weights.amin(1, keepdim=True), weights], 1)

    @property
    def seen(self) -> Float[Tensor, "N"]:
        """Blending weights summed over the pixels of all views of which the teacher says anything."""
        return self.total((self.confidence > 0).to(self.votes)).sum(1)

    def total(self, weights: Float[Tensor, "C D"]) -> Float[Tensor, "N D"]:
        """Sum of the weighted votes over the views; one at a time stays in the caches, an einsum does not."""
        out = torch.zeros_like(self.votes[0])
        for votes, weight in zip(self.votes, weights.to(out), strict=True):
            out.addcmul_(votes, weight)
        return out


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
    likely = torch.stack([likeliest(part_maps) for part_maps in maps.maps]) if hard else None
    evidence = Evidence(splats, cameras, maps, config, alphas, votes, likely)
    for view in range(len(cameras)):
        projected = evidence.projected(view)
        alphas[view] = composite(projected, ones)[1][0, ..., 0]
        votes[view] = lift(projected, evidence.shares(view)).sums[0]
        report("votes", view + 1, len(cameras))
    if not votes.any():
        raise InputError(f"cameras: none of the {len(cameras)} sees any of the {count} splats")
    return evidence


def likeliest(maps: Float[Tensor, "L H W"]) -> UInt8[Tensor, "H W"]:
    """The label of the greatest share, 0 = the background: that has it where no map is above one half.

    A map at a time: an argmax over the first axis takes ten times as long.
    """
    best, label = torch.full_like(maps[0], 0.5), torch.zeros_like(maps[0], dtype=torch.uint8)
    for row, part in enumerate(maps, 1):
        label = torch.where(part > best, row, label).to(torch.uint8)
        best = torch.maximum(best, part)
    return label


def _check(splats: Splats, cameras: Cameras, maps: PartMaps) -> None:
    good: Bool[Tensor, "N"] = splats.finite
    if not good.all():
        raise InputError(f"splats: {int((~good).sum())} of {len(good)} rows are not finite; remove them first")
    expected = [len(cameras), len(maps.names), cameras.height, cameras.width]
    if list(maps.maps.shape) != expected:
        raise InputError(f"part maps: expected {expected} for these cameras and names, got {list(maps.maps.shape)}")
    if not maps.names:
        raise InputError("part maps: expected at least one part, got none")
