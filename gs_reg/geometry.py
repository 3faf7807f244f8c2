"""Pixels, rays and similarities. Pixel (u, v) has its centre at +0.5; depth is camera-space z."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.types import Cameras


def pixel_centers(width: int, height: int, like: Tensor) -> Float[Tensor, "H W 2"]:
    """x, y of every pixel centre."""
    y = torch.arange(height, dtype=like.dtype, device=like.device) + 0.5
    x = torch.arange(width, dtype=like.dtype, device=like.device) + 0.5
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def camera_rays(cameras: Cameras) -> Float[Tensor, "C H W 3"]:
    """Camera-space direction of every pixel with z = 1, so that depth times ray is the point."""
    xy = pixel_centers(cameras.width, cameras.height, cameras.Ks)
    focal = torch.stack([cameras.Ks[:, 0, 0], cameras.Ks[:, 1, 1]], dim=-1)[:, None, None]
    principal = cameras.Ks[:, None, None, :2, 2]
    return F.pad((xy - principal) / focal, (0, 1), value=1.0)


def unproject(cameras: Cameras, depths: Float[Tensor, "C H W"]) -> Float[Tensor, "C H W 3"]:
    """World point of every pixel at the given camera-space z."""
    points = camera_rays(cameras) * depths[..., None]
    return transform_points(cameras.world_from_camera[:, None, None], points)


def project(cameras: Cameras, points: Float[Tensor, "*B 3"]) -> tuple[Float[Tensor, "C *B 2"], Float[Tensor, "C *B"]]:
    """Pixel position and camera-space z of world points in every camera; points behind it are not excluded."""
    lead = (len(cameras),) + (1,) * (points.ndim - 1)
    p = transform_points(cameras.viewmats.reshape(*lead, 4, 4), points)
    focal = torch.stack([cameras.Ks[:, 0, 0], cameras.Ks[:, 1, 1]], dim=-1).reshape(*lead, 2)
    return p[..., :2] / p[..., 2:] * focal + cameras.Ks[:, :2, 2].reshape(*lead, 2), p[..., 2]


def transform_points(matrix: Float[Tensor, "*#B 4 4"], points: Float[Tensor, "*#B 3"]) -> Float[Tensor, "*#B 3"]:
    return (matrix[..., :3, :3] @ points[..., None])[..., 0] + matrix[..., :3, 3]


def rounding_offset(positions: Float[Tensor, "N 3"], size: float, pixel: float) -> Float[Tensor, "3"]:
    """What to subtract (float64) so that float32 holds the positions; zeros where it holds them as they are.

    It does where it moves no coordinate by more than a quarter of `pixel`, the size of a pixel out there. Else it is
    the middle of the positions, rounded to a power of ten of about their `size`, so that people can read and add it.
    """
    zero = positions.new_zeros(3, dtype=torch.float64)
    if float(positions.abs().max()) * 2**-24 <= pixel / 4:  # half of the last of 24 bits
        return zero
    digits = -math.floor(math.log10(size))
    # + 0.0 turns -0.0 into 0.0
    return torch.tensor([round(x, digits) + 0.0 for x in positions.double().mean(0).tolist()], dtype=torch.float64)


def shifted(matrix: Float[Tensor, "4 4"], offset: Float[Tensor, "3"]) -> Float[Tensor, "4 4"]:
    """The transform, and then less `offset`, in double precision."""
    out = matrix.double().clone()
    out[:3, 3] -= offset.double().to(out.device)
    return out


def similarity_scale(matrix: Float[Tensor, "4 4"]) -> float:
    """The scale of a similarity; raises ValueError where the matrix shears or mirrors."""
    linear = matrix[:3, :3].double()
    scale = torch.linalg.det(linear).abs().pow(1 / 3)
    if not torch.allclose(
        linear @ linear.T, scale**2 * torch.eye(3, dtype=linear.dtype), rtol=0, atol=1e-4 * float(scale) ** 2
    ):
        raise ValueError("world transform: expected a similarity (rotation, uniform scale, translation), got a shear")
    if torch.linalg.det(linear) < 0:
        raise ValueError("world transform: expected a rotation, got a mirroring")
    return float(scale)


def transform_cameras(matrix: Float[Tensor, "4 4"], cameras: Cameras) -> Cameras:
    """The cameras after a similarity of the world; depths are multiplied by its scale.

    The scale is taken out of the viewmats, which stay rigid. Inverted in double precision.
    """
    m = matrix.double()
    scale = similarity_scale(matrix)
    pose = m @ torch.linalg.inv(cameras.viewmats.double())
    pose[:, :3, :3] /= scale
    return Cameras(torch.linalg.inv(pose).to(cameras.viewmats), cameras.Ks, cameras.width, cameras.height)
