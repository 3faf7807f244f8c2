"""Structural similarity, per pixel: 11x11 Gaussian window of sigma 1.5, zero padding, as the field measures and trains."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


def _blur(x: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    kernel = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    kernel = kernel / kernel.sum()
    x = F.conv2d(x, kernel.reshape(1, 1, WINDOW, 1), padding=(WINDOW // 2, 0))
    return F.conv2d(x, kernel.reshape(1, 1, 1, WINDOW), padding=(0, WINDOW // 2))


def ssim_map(a: Float[Tensor, "C H W D"], b: Float[Tensor, "C H W D"]) -> Float[Tensor, "C H W D"]:
    """SSIM of every pixel and channel of images in [0, 1] (Wang et al. 2004, equation 13)."""
    x, y = a.movedim(-1, 1), b.movedim(-1, 1)
    planes = torch.stack([x, y, x * x, y * y, x * y])
    blurred = _blur(planes.reshape(-1, 1, *planes.shape[-2:])).reshape(planes.shape)
    mx, my, xx, yy, xy = blurred
    vx, vy, cov = xx - mx * mx, yy - my * my, xy - mx * my
    out = (2 * mx * my + C1) * (2 * cov + C2) / ((mx * mx + my * my + C1) * (vx + vy + C2))
    return out.movedim(1, -1)
