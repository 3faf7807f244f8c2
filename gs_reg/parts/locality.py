"""Did the edit stay where it should? Rows, pixels outside the mask, and agreement between views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gs_reg.metrics import psnr, ssim
from gs_reg.parts.anchors import ENOUGH, warp
from gs_reg.parts.views import part_views
from gs_reg.render import RenderConfig, lift, project
from gs_reg.types import Cameras, Splats, Views

MOST_PSNR = 99.0
"""Of pictures that are equal, which have no number of their own."""


def rows_changed(before: Splats, after: Splats, owned: Bool[Tensor, "N"]) -> int:
    """How many frozen rows differ in some bit; `after` begins with them, as PartEdit has them."""
    wanted = before.detach().rows(~owned)
    found = after.detach().to("cpu").rows(slice(len(wanted)))
    differs = torch.zeros(len(wanted), dtype=torch.bool)
    for name in ("means", "quats", "log_scales", "opacity_logits", "sh"):
        differs |= (_bits(getattr(wanted, name)) != _bits(getattr(found, name))).any(1)
    return int(differs.sum())


def _bits(column: Float[Tensor, "N *S"]) -> Int[Tensor, "N D"]:
    """-0 is not 0, and NaN is NaN."""
    return column.contiguous().view(torch.int32).reshape(len(column), -1)


@dataclass(frozen=True)
class PixelChanges:
    """Pictures before and after, outside the mask; means over the views."""

    psnr: float
    """At most MOST_PSNR."""
    ssim: float
    largest: float
    """Largest difference of a channel."""
    share: float
    """Of pixels in which a channel differs by more than 1/255."""
    leakage: float
    """Sum of the differences outside over the sum of all; 0 where there is no difference."""


def pixel_changes(
    before: Float[Tensor, "C H W 3"], after: Float[Tensor, "C H W 3"], masks: Bool[Tensor, "C H W"]
) -> PixelChanges | None:
    """What changed outside the masks, which should be those of both pictures, a little dilated.

    None where the masks leave no pixel.
    """
    outside = ~masks
    shown = outside.flatten(1).any(1)
    if not shown.any():
        return None
    before, after, outside = before[shown].clamp(0, 1), after[shown].clamp(0, 1), outside[shown]
    change = (before - after).abs()
    total, beyond = float(change.sum()), change[outside]
    return PixelChanges(
        psnr=float(psnr(before, after, outside).clamp_max(MOST_PSNR).mean()),
        ssim=float(ssim(before, after, outside).mean()),
        largest=float(beyond.max()),
        share=float((beyond.amax(-1) > 1 / 255).float().mean()),
        leakage=float(beyond.sum()) / total if total > 0 else 0.0,
    )


@torch.no_grad()
def reaching_out(
    splats: Splats, cameras: Cameras, edited: Bool[Tensor, "N"], masks: Bool[Tensor, "C H W"]
) -> tuple[int, float]:
    """How many edited Gaussians lie for the most part outside the masks, and what share of all their weight does."""
    inside = total = splats.means.new_zeros(int(edited.sum()))
    for i in range(len(cameras)):
        lifted = lift(project(splats, cameras[i], RenderConfig()), masks[i, None, :, :, None].to(splats.means))
        inside, total = inside + lifted.sums[0, edited, 0], total + lifted.weights[0, edited]
    out = total - inside
    return int((out > 0.5 * total).sum()), float(out.sum() / total.sum().clamp_min(1e-12))


@torch.no_grad()
def consistency(
    splats: Splats, cameras: Cameras, edited: Bool[Tensor, "N"], degrees: Sequence[float] = (8.0, 45.0)
) -> dict[float, float | None]:
    """Mean colour difference of the part between each camera and one turned around it by so many degrees.

    By depth, where both see it; None where no pair of cameras shares enough of it.
    """
    center = splats.means[edited].median(0).values
    here = part_views(splats, cameras, edited)
    out: dict[float, float | None] = {}
    for angle in degrees:
        there = part_views(splats, turned(cameras, center, angle), edited)
        out[angle] = _difference(here, there)
    return out


def _difference(here: Views, there: Views) -> float | None:
    total, pixels = 0.0, 0
    for i in range(len(here)):
        warped, shared = warp(there[i], here[i])
        total += float((warped - here.photos[i])[shared].abs().mean(-1).sum())
        pixels += int(shared.sum())
    return total / pixels if pixels >= ENOUGH else None


def turned(cameras: Cameras, center: Float[Tensor, "3"], degrees: float) -> Cameras:
    """The cameras on circles around a point, each about its own upward axis."""
    up = -cameras.viewmats[:, 1, :3].double()
    x, y, z = torch.nn.functional.normalize(up, dim=1).unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).view(-1, 3, 3)
    angle = math.radians(degrees)
    rotation = torch.eye(3).to(cross) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    move = torch.eye(4).to(cross).repeat(len(cameras), 1, 1)
    move[:, :3, :3] = rotation
    move[:, :3, 3] = center.double() - rotation @ center.double()
    return cameras.moved(move.to(cameras.viewmats))
