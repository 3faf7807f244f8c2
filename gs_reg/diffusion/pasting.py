"""Masks of edits: as latents see them, and the paste that keeps every pixel far from the mask as it was."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

SIDE = 512
"""Of the pictures for which `margin` and `feather` are said; in proportion for others."""


def touched(mask: Bool[Tensor, "H W"], factor: int) -> Float[Tensor, "1 1 h w"]:
    """1 where a latent has a pixel of the mask: parts thinner than a latent stay."""
    return F.max_pool2d(mask[None, None].float(), factor)


def mostly(masks: Bool[Tensor, "B H W"], factor: int) -> Float[Tensor, "B 1 h w"]:
    """1 where more than half of a latent is in the mask."""
    return (F.avg_pool2d(masks[:, None].float(), factor) > 0.5).float()


def paste(
    edited: Float[Tensor, "H W 3"],
    source: Float[Tensor, "H W 3"],
    mask: Bool[Tensor, "H W"],
    margin: float = 8,
    feather: float = 4,
) -> Float[Tensor, "H W 3"]:
    """The source from `margin` pixels outside the mask on; between them a ramp over the outer `feather` pixels."""
    from scipy import ndimage

    if not mask.any():
        return source.clone()
    scale = max(mask.shape) / SIDE
    away = torch.from_numpy(ndimage.distance_transform_edt(~mask.cpu().numpy())).to(source)
    weight = ((margin * scale - away) / (feather * scale)).clamp(0, 1) if feather else (away < margin * scale).float()
    return torch.where((weight > 0)[..., None], source + weight[..., None] * (edited - source), source)


def padded(picture: Float[Tensor, "H W k"], step: int) -> Float[Tensor, "h w k"]:
    """To multiples of `step`, by repeating the last rows and columns."""
    height, width = picture.shape[:2]
    pad = (0, -width % step, 0, -height % step)
    return F.pad(picture.movedim(-1, 0)[None], pad, mode="replicate")[0].movedim(0, -1)
