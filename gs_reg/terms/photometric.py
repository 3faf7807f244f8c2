"""The render should look like the photo."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.ssim import ssim_map
from gs_reg.terms import Context


def masked_mean(values: Float[Tensor, "C H W D"], mask: Bool[Tensor, "C H W"] | None) -> Tensor:
    """Mean over the pixels that count; 0 where none does."""
    if mask is None:
        return values.mean()
    weights = mask[..., None].to(values)
    return (values * weights).sum() / (weights.sum() * values.shape[-1]).clamp_min(1)


@dataclass(frozen=True)
class L1:
    """Mean absolute difference of colours."""

    weight: float = 0.8
    """Weight of the mean absolute colour difference."""

    def __call__(self, context: Context) -> Tensor:
        return masked_mean((context.image.colors - context.views.images).abs(), context.views.masks)


@dataclass(frozen=True)
class Ssim:
    """1 - SSIM (11x11 Gaussian window of sigma 1.5, zero padding)."""

    weight: float = 0.2
    """Weight of 1 - SSIM."""

    def __call__(self, context: Context) -> Tensor:
        return masked_mean(1 - ssim_map(context.image.colors, context.views.images), context.views.masks)
