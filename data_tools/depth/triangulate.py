"""Triangulation of a pixel from its matches in other views: inverse depth along its ray, with a standard deviation.

A match q of pixel p in view j obeys q ~ A + b w, with A = K_j R_ji r(p), b = K_j t_ji and w = 1/z: linear in w and
valid to infinity.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.types import Cameras

HUBER = 1.0
"""Residuals beyond this many pixels count less."""


@dataclass(frozen=True)
class Triangulation:
    """Inverse depths w = 1/z of pixels, with what tells how far to trust them."""

    inverse_depth: Float[Tensor, "*B"]
    """May be slightly negative for points at infinity."""
    sd: Float[Tensor, "*B"]
    """Standard deviation of the inverse depth for matches of the given error."""
    residual: Float[Tensor, "*B"]
    """Weighted root mean square of the reprojection errors, pixels."""
    front: Bool[Tensor, "*B"]
    """The point lies in front of every camera that was used."""


def ray_in_other(
    camera: Cameras, other: Cameras, pixels: Float[Tensor, "*B 2"]
) -> tuple[Float[Tensor, "*B 3"], Float[Tensor, "3"]]:
    """A and b: the point at inverse depth w on the ray of `pixels` projects to A + b w in `other` (homogeneous)."""
    relative = other.viewmats[0].double() @ torch.linalg.inv(camera.viewmats[0].double())
    k_other = other.Ks[0].double()
    to_ray = k_other @ relative[:3, :3] @ torch.linalg.inv(camera.Ks[0].double())
    homogeneous = torch.nn.functional.pad(pixels.double(), (0, 1), value=1.0)
    return homogeneous @ to_ray.T, k_other @ relative[:3, 3]


def triangulate(
    rays: Float[Tensor, "*B J 3"],
    shifts: Float[Tensor, "*B J 3"],
    matches: Float[Tensor, "*B J 2"],
    confidence: Float[Tensor, "*B J"],
    sd_px: float = 0.5,
    rounds: int = 4,
) -> Triangulation:
    """Least squares over all views that match the pixel, re-weighted against outliers (Huber, 1 px).

    `rays` and `shifts` are A and b of `ray_in_other`; confidence 0 = no match in that view. `sd_px` is the error of a
    match along its epipolar line. Where no view has a parallax the inverse depth is 0 and sd infinite.
    """
    q = matches
    # reprojection error = (a - c w) / depth: linear in w once the depth of the round before stands in the divisor
    a = rays[..., :2] - q * rays[..., 2:]
    c = q * shifts[..., 2:] - shifts[..., :2]
    w = torch.zeros_like(rays[..., 0, 0])
    robust = torch.ones_like(confidence)
    for _ in range(rounds):
        depth = rays[..., 2] + shifts[..., 2] * w[..., None]
        scale = confidence * robust / depth.square().clamp_min(1e-12)
        normal = (scale * c.square().sum(-1)).sum(-1)
        w = torch.where(normal > 0, (scale * (a * c).sum(-1)).sum(-1) / normal.clamp_min(1e-300), 0.0)
        depth = rays[..., 2] + shifts[..., 2] * w[..., None]
        error = (a - c * w[..., None, None]).norm(dim=-1) / depth.abs().clamp_min(1e-12)
        robust = HUBER / error.clamp_min(HUBER)
    used = confidence > 0
    information = (used * c.square().sum(-1) / depth.square().clamp_min(1e-12)).sum(-1)
    sd = sd_px / information.sqrt()
    weight = confidence * robust
    residual = ((weight * error.square()).sum(-1) / weight.sum(-1).clamp_min(1e-12)).sqrt()
    return Triangulation(w, sd, residual, ((depth > 0) | ~used).all(-1))
