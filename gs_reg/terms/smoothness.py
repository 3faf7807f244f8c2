"""Surfaces are mostly smooth: total variation of the rendered disparity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from gs_reg import _ops
from gs_reg.terms import Context


def disparity(context: Context) -> tuple[Float[Tensor, "C H W"], Bool[Tensor, "C H W"]]:
    """Rendered 1 / depth, and where enough is drawn to speak of a depth."""
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
    """By direction, over the pairs of neighbours whose ends are both valid: the sum of |difference| and their number;
    and both over those within one layer, 0 without layers. Pairs weigh exp(-d / edge) by the guide's difference d."""
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
    """The same in plain torch."""
    rows = []
    for dim in (2, 1):
        steps = neighbor_differences(w, dim).abs()
        size = valid.shape[dim] - 1
        kept = [valid.narrow(dim, 1, size) & valid.narrow(dim, 0, size)]
        if guide is not None:
            r, g, b = neighbor_differences(guide, dim).abs().unbind(-1)  # mean(-1) takes seven times as long
            steps = steps * torch.exp((r + g + b) / (-3 * edge))
        if layers is not None:
            kept.append(kept[0] & (layers.narrow(dim, 1, size) == layers.narrow(dim, 0, size)))
        sums = [value for pairs in kept for value in ((steps * pairs).sum(), pairs.sum().to(w.dtype))]
        rows.append(torch.stack(sums + [w.new_zeros(())] * (4 - len(sums))))
    return torch.stack(rows)


@dataclass(frozen=True)
class DisparityTV:
    """Mean absolute difference of neighbouring disparities, weaker across colour edges, relative to the mean disparity.

    Difference first, then mask: a pair counts only if both ends are drawn.
    """

    needs_views: ClassVar[tuple[str, ...]] = ("images",)

    weight: float = 0.0
    """Weight of the total variation of rendered disparity."""
    edge: float = 0.1
    """Colour difference at which a pair counts 1/e."""

    def __call__(self, context: Context) -> Tensor:
        w, valid = disparity(context)
        sums = pair_sums(w, valid, guide=context.views.photos, edge=self.edge)
        total = (sums[:, 0] / sums[:, 1].clamp_min(1)).sum()
        return total / (w.detach() * valid).sum().clamp_min(1e-12) * valid.sum()


@dataclass(frozen=True)
class LayeredTV:
    """Mean absolute difference of neighbouring disparities, less and less of it across layers, over the mean disparity.

    Unlike the published term: difference first, then mask, so that a layer's border is no edge; and each part is a mean
    over the pairs that it keeps.
    """

    needs_views: ClassVar[tuple[str, ...]] = ("layers",)

    weight: float = 0.0
    """Weight of the total variation of rendered disparity inside depth layers."""
    start: float = 0.0
    """Share of the part inside layers at the first step; the rest is across all. At the last step it is 1."""

    def __call__(self, context: Context) -> Tensor:
        layers = context.views.layers
        if layers is None:
            raise ValueError("LayeredTV: expected views with depth layers, got none")
        w, valid = disparity(context)
        inside = self.start + (1 - self.start) * context.progress
        total_all, pairs_all, total_within, pairs_within = pair_sums(w, valid, layers).unbind(1)
        across, within = total_all / pairs_all.clamp_min(1), total_within / pairs_within.clamp_min(1)
        total = (inside * within + (1 - inside) * across).sum()
        return total / (w.detach() * valid).sum().clamp_min(1e-12) * valid.sum()
