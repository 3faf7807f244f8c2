"""Smoothness: total variation (TV) of the rendered disparity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from gs_reg import _ops
from gs_reg.sums import ordered_sum
from gs_reg.terms import Context


def disparity(context: Context) -> tuple[Float[Tensor, "C H W"], Bool[Tensor, "C H W"]]:
    """Rendered 1 / depth, and the mask of pixels that are opaque enough to have one (alpha above 0.5)."""
    alphas = context.image.alphas[..., 0]
    return alphas / context.image.depths[..., 0].clamp_min(1e-6), alphas.detach() > 0.5


def neighbor_differences(x: Tensor, dim: int) -> Tensor:
    return x.narrow(dim, 1, x.shape[dim] - 1) - x.narrow(dim, 0, x.shape[dim] - 1)


def pair_sums(
    w: Float[Tensor, "C H W"],
    valid: Bool[Tensor, "C H W"],
    layers: UInt8[Tensor, "C H W"] | None = None,
    guide: Float[Tensor, "C H W 3"] | None = None,
    edge: float = 1.0,
) -> Float[Tensor, "2 4"]:
    """Sums over pairs of neighbouring pixels that are both valid; row 0 is horizontal, row 1 vertical.

    The columns are the sum of |difference| and the number of pairs, then both for pairs within one layer (0 without
    layers). With a guide, |difference| is weighted by exp(-d / edge), where d is the guide's mean colour difference.
    """
    if layers is not None and (layers.shape != w.shape or layers.dtype != torch.uint8):
        raise ValueError(f"layers: expected uint8 {list(w.shape)}, got {layers.dtype} {list(layers.shape)}")
    if guide is not None and guide.shape != (*w.shape, 3):
        raise ValueError(f"images: expected {[*w.shape, 3]} as the cameras draw, got {list(guide.shape)}")
    if _ops.is_native(w, *([] if guide is None else [guide])):
        return _ops.variation(w, valid, layers, guide, edge).to(w.dtype)
    return pair_sums_reference(w, valid, layers, guide, edge)


def pair_sums_reference(
    w: Float[Tensor, "C H W"],
    valid: Bool[Tensor, "C H W"],
    layers: UInt8[Tensor, "C H W"] | None = None,
    guide: Float[Tensor, "C H W 3"] | None = None,
    edge: float = 1.0,
) -> Float[Tensor, "2 4"]:
    """`pair_sums` in plain torch: for devices without the kernel, and as its oracle."""
    rows = []
    for dim in (2, 1):
        differences = neighbor_differences(w, dim).abs()
        size = valid.shape[dim] - 1
        masks = [valid.narrow(dim, 1, size) & valid.narrow(dim, 0, size)]
        if guide is not None:
            r, g, b = neighbor_differences(guide, dim).abs().unbind(-1)  # mean(-1) takes seven times as long
            differences = differences * torch.exp((r + g + b) / (-3 * edge))
        if layers is not None:
            masks.append(masks[0] & (layers.narrow(dim, 1, size) == layers.narrow(dim, 0, size)))
        sums = [value for mask in masks for value in (ordered_sum(differences * mask), mask.sum().to(w.dtype))]
        rows.append(torch.stack(sums + [w.new_zeros(())] * (4 - len(sums))))
    return torch.stack(rows)


@dataclass(frozen=True)
class DisparityTV:
    """Edge-aware TV of the rendered disparity, divided by its mean, so that it does not depend on the scene's scale.

    Only pairs of two valid pixels count: masking before the difference would make the mask's border an edge.
    """

    needs_views: ClassVar[tuple[str, ...]] = ("images",)

    weight: float = 0.0
    """Weight of the total variation of rendered disparity."""
    edge: float = 0.1
    """Colour difference at which a pair's weight is 1/e."""

    def __call__(self, context: Context) -> Tensor:
        w, valid = disparity(context)
        sums = pair_sums(w, valid, guide=context.views.photos, edge=self.edge)
        total = (sums[:, 0] / sums[:, 1].clamp_min(1)).sum()
        return total / ordered_sum(w.detach() * valid).clamp_min(1e-12) * valid.sum()


@dataclass(frozen=True)
class LayeredTV:
    """TV of the rendered disparity, divided by its mean; pairs across depth layers lose their weight over the run.

    Two deviations from CoherentGS: masks apply to pairs, not to pixels before the difference, so a layer's border is no
    edge; and each part is a mean over its own pairs.
    """

    needs_views: ClassVar[tuple[str, ...]] = ("layers",)

    weight: float = 0.0
    """Weight of the total variation of rendered disparity inside depth layers."""
    start: float = 0.0
    """Weight of the TV within layers at the first step, against the TV of all pairs; it rises to 1 at the last step."""

    def __call__(self, context: Context) -> Tensor:
        layers = context.views.layers
        if layers is None:
            raise ValueError("LayeredTV: expected views with depth layers, got none")
        w, valid = disparity(context)
        layer_weight = self.start + (1 - self.start) * context.progress
        total_all, pairs_all, total_within, pairs_within = pair_sums(w, valid, layers).unbind(1)
        tv_all, tv_within = total_all / pairs_all.clamp_min(1), total_within / pairs_within.clamp_min(1)
        total = (layer_weight * tv_within + (1 - layer_weight) * tv_all).sum()
        return total / ordered_sum(w.detach() * valid).clamp_min(1e-12) * valid.sum()
