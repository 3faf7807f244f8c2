"""Surfaces are mostly smooth: total variation of the rendered disparity."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.terms import Context


def disparity(context: Context) -> tuple[Float[Tensor, "C H W"], Bool[Tensor, "C H W"]]:
    """Rendered 1 / depth, and where enough is drawn to speak of a depth."""
    alphas = context.image.alphas[..., 0]
    return alphas / context.image.depths[..., 0].clamp_min(1e-6), alphas.detach() > 0.5


def neighbor_differences(x: Tensor, dim: int) -> Tensor:
    return x.narrow(dim, 1, x.shape[dim] - 1) - x.narrow(dim, 0, x.shape[dim] - 1)


@dataclass(frozen=True)
class DisparityTV:
    """Mean absolute difference of neighbouring disparities, weaker across colour edges, relative to the mean disparity.

    Difference first, then mask: a pair counts only if both ends are drawn.
    """

    weight: float = 0.0
    """Weight of the total variation of rendered disparity."""
    edge: float = 0.1
    """Colour difference at which a pair counts 1/e."""

    def __call__(self, context: Context) -> Tensor:
        w, valid = disparity(context)
        total = w.new_zeros(())
        for dim in (1, 2):
            steps = neighbor_differences(w, dim).abs()
            both = valid.narrow(dim, 1, valid.shape[dim] - 1) & valid.narrow(dim, 0, valid.shape[dim] - 1)
            r, g, b = (
                neighbor_differences(context.views.images, dim).abs().unbind(-1)
            )  # mean(-1) takes seven times as long
            pair_weights = torch.exp((r + g + b) / (-3 * self.edge)) * both
            total = total + (steps * pair_weights).sum() / both.sum().clamp_min(1)
        return total / (w.detach() * valid).sum().clamp_min(1e-12) * valid.sum()


@dataclass(frozen=True)
class LayeredTV:
    """Mean absolute difference of neighbouring disparities, less and less of it across layers, over the mean disparity.

    Unlike the published term: difference first, then mask, so that a layer's border is no edge; and each part is a mean
    over the pairs that it keeps.
    """

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
        total = w.new_zeros(())
        for dim in (1, 2):
            steps = neighbor_differences(w, dim).abs()
            ends = [(x.narrow(dim, 0, x.shape[dim] - 1), x.narrow(dim, 1, x.shape[dim] - 1)) for x in (valid, layers)]
            both = ends[0][0] & ends[0][1]
            within = both & (ends[1][0] == ends[1][1])
            for share, kept in ((inside, within), (1 - inside, both)):
                total = total + share * (steps * kept).sum() / kept.sum().clamp_min(1)
        return total / (w.detach() * valid).sum().clamp_min(1e-12) * valid.sum()
