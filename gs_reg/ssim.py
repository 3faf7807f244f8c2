"""Structural similarity, per pixel: 11x11 Gaussian window of sigma 1.5, zero padding, as the field measures it."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg import _ops

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


def _blurred(planes: Float[Tensor, "P H W"]) -> Float[Tensor, "P H W"]:
    """The separable window as sums of shifted planes; on the CPU plane by plane, which stays in the cache (27 times the
    speed of conv2d with one channel)."""
    taps = [math.exp(-(d**2) / (2 * SIGMA**2)) for d in range(WINDOW // 2 + 1)]
    taps = [tap / (2 * sum(taps) - taps[0]) for tap in taps]
    out = torch.empty_like(planes)
    for source, target in zip(planes.split(_stride(planes)), out.split(_stride(planes)), strict=True):
        rows = source * taps[0]
        for d, tap in enumerate(taps[1:], start=1):
            rows[:, :, d:].add_(source[:, :, :-d], alpha=tap)
            rows[:, :, :-d].add_(source[:, :, d:], alpha=tap)
        torch.mul(rows, taps[0], out=target)
        for d, tap in enumerate(taps[1:], start=1):
            target[:, d:].add_(rows[:, :-d], alpha=tap)
            target[:, :-d].add_(rows[:, d:], alpha=tap)
    return out


def _stride(planes: Tensor) -> int:
    return 1 if planes.device.type == "cpu" else max(len(planes), 1)


class _Blur(torch.autograd.Function):
    """The window is symmetric and the padding is zero, so the blur is its own adjoint."""

    @staticmethod
    def forward(_ctx, planes: Tensor) -> Tensor:
        return _blurred(planes.contiguous())

    @staticmethod
    def backward(_ctx, v_out: Tensor) -> Tensor:  # type: ignore[override]
        return _Blur.apply(v_out)


def _blur(*images: Float[Tensor, "C D H W"]) -> tuple[Tensor, ...]:
    stacked = torch.stack(images)
    return tuple(_Blur.apply(stacked.flatten(0, 2)).reshape(stacked.shape))


def ssim_map(a: Float[Tensor, "C H W D"], b: Float[Tensor, "C H W D"]) -> Float[Tensor, "C H W D"]:
    """SSIM of every pixel and channel of images in [0, 1] (Wang et al. 2004, equation 13)."""
    x, y = a.movedim(-1, 1), b.movedim(-1, 1)
    # Apart, so that a photo, which needs no gradient, costs none.
    mx, xx, xy = _blur(x, x * x, x * y)
    my, yy = _blur(y, y * y)
    vx, vy, cov = xx - mx * mx, yy - my * my, xy - mx * my
    out = (2 * mx * my + C1) * (2 * cov + C2) / ((mx * mx + my * my + C1) * (vx + vy + C2))
    return out.movedim(1, -1)


def l1_and_dssim(
    image: Float[Tensor, "C H W D"], target: Float[Tensor, "C H W D"], mask: Bool[Tensor, "C H W"] | None = None
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Means of |image - target| and of 1 - SSIM over the pixels of the mask; 0 where none counts.

    The target is a photo: it gets no gradient.
    """
    target = target.detach()
    if _ops.is_native(image, target):
        l1, dssim, _count, _gradient = _ops.photometric(image, target, mask, image.requires_grad)
        return l1, dssim
    return masked_mean((image - target).abs(), mask), masked_mean(1 - ssim_map(image, target), mask)


def masked_mean(values: Float[Tensor, "C H W D"], mask: Bool[Tensor, "C H W"] | None) -> Float[Tensor, ""]:
    """Mean over the pixels that count; 0 where none does."""
    if mask is None:
        return values.mean()
    weights = mask[..., None].to(values)
    return (values * weights).sum() / (weights.sum() * values.shape[-1]).clamp_min(1)
