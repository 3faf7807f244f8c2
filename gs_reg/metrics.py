"""Image metrics: PSNR, SSIM, and LPIPS where its weights are given."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.lpips import Lpips, check_lpips, find_lpips
from gs_reg.ssim import ssim_map

__all__ = ["Lpips", "check_lpips", "coverage", "find_lpips", "psnr", "ssim", "ssim_map", "white_outside"]


def _check_same_shape(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise ValueError(f"images: expected equal shapes, got {list(a.shape)} and {list(b.shape)}")


def psnr(
    a: Float[Tensor, "C H W 3"], b: Float[Tensor, "C H W 3"], mask: Bool[Tensor, "C H W"] | None = None
) -> Float[Tensor, "C"]:
    """PSNR of every image in dB, over all pixels or those in the mask: -10 log10 of the mean squared error.

    Images are in [0, 1]. Infinite for equal images, NaN where the mask is empty.
    """
    _check_same_shape(a, b)
    errors = (a - b).square().mean(-1)
    weights = torch.ones_like(errors) if mask is None else mask.to(errors)
    return -10 * ((errors * weights).sum((1, 2)) / weights.sum((1, 2))).log10()


def ssim(
    a: Float[Tensor, "C H W 3"], b: Float[Tensor, "C H W 3"], mask: Bool[Tensor, "C H W"] | None = None
) -> Float[Tensor, "C"]:
    """SSIM of every image: 11x11 Gaussian window of sigma 1.5, zero padding, mean over pixels and channels.

    With a mask, both images are set to white outside it, so that windows at its border do not see what lies outside,
    and the mean is over the mask's pixels; NaN where the mask is empty.
    """
    _check_same_shape(a, b)
    if mask is None:
        return ssim_map(a, b).mean((1, 2, 3))
    values = ssim_map(white_outside(a, mask), white_outside(b, mask)).mean(-1)
    return (values * mask).sum((1, 2)) / mask.sum((1, 2))


def white_outside(images: Float[Tensor, "C H W 3"], mask: Bool[Tensor, "C H W"]) -> Float[Tensor, "C H W 3"]:
    """The images with 1 where the mask is False."""
    return torch.where(mask[..., None], images, torch.ones_like(images))


def coverage(mask: Bool[Tensor, "C H W"]) -> Float[Tensor, "C"]:
    """Share of pixels in the mask; to be reported with every masked metric."""
    return mask.float().mean((1, 2))
