"""Maps of parts from 0 to 1 from what a network says of them: up-sampled, sharpened, and refined on the picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.diffusion.word_maps import min_max, sharpened

RADIUS = 8 / 512
"""Of the guided filter, as a share of the picture's longer side: half of an image token of SD3-medium."""
EPS = 1e-3


def part_maps(
    raw: Float[Tensor, "C L h w"],
    tau: Float[Tensor, "L"],
    pictures: Float[Tensor, "C H W 3"],
    radius: float = RADIUS,
) -> Float[Tensor, "C L H W"]:
    """Up-sampled, min-max, sharpened at each part's temperature, refined on the pictures, min-max again."""
    size = (pictures.shape[1], pictures.shape[2])
    up = F.interpolate(raw.float(), size=size, mode="bilinear").flatten(2)
    sharp = sharpened(min_max(up), tau.to(up)[:, None]).unflatten(2, size)
    return min_max(refined(sharp, pictures, radius).flatten(2)).unflatten(2, size)


def refined(
    maps: Float[Tensor, "C L H W"], pictures: Float[Tensor, "C H W 3"], radius: float = RADIUS
) -> Float[Tensor, "C L H W"]:
    """The guided filter (He et al. 2010) with the colour picture as guide: edges of maps move to edges in it."""
    pixels = max(1, round(radius * max(maps.shape[-2:])))
    # a view at a time, or the products of channels would be many times the pictures
    return torch.stack([guided(m, p.to(m), pixels) for m, p in zip(maps, pictures, strict=True)])


def guided(
    maps: Float[Tensor, "L H W"], picture: Float[Tensor, "H W 3"], radius: int, eps: float = EPS
) -> Float[Tensor, "L H W"]:
    """In each square of side 2 radius + 1 the map is fitted by a linear function of the colour; their mean is taken."""
    guide = picture.movedim(-1, 0)
    pairs = [(i, j) for i in range(3) for j in range(i, 3)]
    mean, mean_map = _box(guide, radius), _box(maps, radius)
    products = _box(torch.stack([guide[i] * guide[j] for i, j in pairs]), radius)
    covariance = {pair: products[n] - mean[pair[0]] * mean[pair[1]] for n, pair in enumerate(pairs)}
    for i in range(3):
        covariance[i, i] = covariance[i, i] + eps
    inverse = _inverse(covariance)
    with_map = torch.stack([_box(guide[i] * maps, radius) - mean[i] * mean_map for i in range(3)])
    slope = (inverse[:, :, None] * with_map).sum(1)
    offset = mean_map - (slope * mean[:, None]).sum(0)
    slopes = torch.stack([_box(slope[i], radius) for i in range(3)])
    return (slopes * guide[:, None]).sum(0) + _box(offset, radius)


def _box(planes: Float[Tensor, "n H W"], radius: int) -> Float[Tensor, "n H W"]:
    """Mean over the square around each pixel, of what lies inside the picture."""
    return _along_last(_along_last(planes, radius).mT, radius).mT


def _along_last(planes: Float[Tensor, "n H W"], radius: int) -> Float[Tensor, "n H W"]:
    """Mean over 2 radius + 1 neighbours, as differences of running sums: the time does not grow with the radius."""
    count = planes.shape[-1]
    sums = F.pad(planes.cumsum(-1), (1, 0))
    place = torch.arange(count, device=planes.device)
    first, last = (place - radius).clamp(min=0), (place + radius + 1).clamp(max=count)
    return (sums[..., last] - sums[..., first]) / (last - first)


def _inverse(m: dict[tuple[int, int], Tensor]) -> Float[Tensor, "3 3 H W"]:
    """Of symmetric 3 x 3 matrices, given by their upper triangle: adjugate over determinant."""
    adjugate = {
        (0, 0): m[1, 1] * m[2, 2] - m[1, 2] ** 2,
        (0, 1): m[0, 2] * m[1, 2] - m[0, 1] * m[2, 2],
        (0, 2): m[0, 1] * m[1, 2] - m[0, 2] * m[1, 1],
        (1, 1): m[0, 0] * m[2, 2] - m[0, 2] ** 2,
        (1, 2): m[0, 1] * m[0, 2] - m[0, 0] * m[1, 2],
        (2, 2): m[0, 0] * m[1, 1] - m[0, 1] ** 2,
    }
    determinant = m[0, 0] * adjugate[0, 0] + m[0, 1] * adjugate[0, 1] + m[0, 2] * adjugate[0, 2]
    rows = [torch.stack([adjugate[min(i, j), max(i, j)] for j in range(3)]) for i in range(3)]
    return torch.stack(rows) / determinant
