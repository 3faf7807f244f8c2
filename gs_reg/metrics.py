"""How near a render is to the photo: PSNR, SSIM, and LPIPS where its weights are at hand."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.lpips import Lpips, find_lpips
from gs_reg.ssim import ssim_map

__all__ = ["Lpips", "coverage", "find_lpips", "psnr", "ssim", "ssim_map", "white_outside"]


def _same_shape(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise ValueError(f"images: expected equal shapes, got {list(a.shape)} and {list(b.shape)}")


def psnr(
    a: Float[Tensor, "C H W 3"], b: Float[Tensor, "C H W 3"], mask: Bool[Tensor, "C H W"] | None = None
) -> Float[Tensor, "C"]:
    """-10 log10 of the mean squared error of every image, over all channels of all pixels or of those in the mask.

    Images in [0, 1]; the result is in dB, infinite for equal images, NaN where the mask is empty.
    """
    _same_shape(a, b)
    errors = (a - b).square().mean(-1)
    weights = torch.ones_like(errors) if mask is None else mask.to(errors)
    return -10 * ((errors * weights).sum((1, 2)) / weights.sum((1, 2))).log10()


def ssim(
    a: Float[Tensor, "C H W 3"], b: Float[Tensor, "C H W 3"], mask: Bool[Tensor, "C H W"] | None = None
) -> Float[Tensor, "C"]:
    """Structural similarity of every image: 11x11 Gaussian of sigma 1.5, zero padding, mean over map and channels.

    With a mask both images are white outside it, and the mean is over its pixels only; NaN where it is empty.
    """
    _same_shape(a, b)
    if mask is None:
        return ssim_map(a, b).mean((1, 2, 3))
    values = ssim_map(white_outside(a, mask), white_outside(b, mask)).mean(-1)
    return (values * mask).sum((1, 2)) / mask.sum((1, 2))


def white_outside(images: Float[Tensor, "C H W 3"], mask: Bool[Tensor, "C H W"]) -> Float[Tensor, "C H W 3"]:
    """The images with 1 where the mask is False."""
    return torch.where(mask[..., None], images, torch.ones_like(images))


def coverage(mask: Bool[Tensor, "C H W"]) -> Float[Tensor, "C"]:
    """Share of pixels in the mask; belongs beside every masked figure."""
    return mask.float().mean((1, 2))
