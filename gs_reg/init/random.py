"""Random initialisation inside the cameras' frustums, for splatting without sparse points (3DGS, section 5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from gs_reg.geometry import transform_points
from gs_reg.neighbors import nearest
from gs_reg.sh import rgb_to_sh
from gs_reg.types import Cameras, Splats

OPACITY = 0.1
"""Initial opacity, as in 3DGS."""


def random_splats(cameras: Sequence[Cameras], bounds: Sequence[tuple[float, float]], count: int, seed: int) -> Splats:
    """`count` grey splats on random rays of random cameras, uniform in inverse depth.

    `bounds` are the smallest and largest inverse depth of each camera. Scales are the mean distance to the
    three nearest neighbours.
    """
    generator = torch.Generator().manual_seed(seed)
    camera_of = torch.randint(len(cameras), (count,), generator=generator)
    uv, t = torch.rand(count, 2, generator=generator), torch.rand(count, generator=generator)
    means = torch.empty(count, 3)
    for i, (camera, (low, high)) in enumerate(zip(cameras, bounds, strict=True)):
        mask = camera_of == i
        pixels = F.pad(uv[mask] * torch.tensor([camera.width, camera.height]), (0, 1), value=1.0)
        rays = pixels @ torch.linalg.inv(camera.Ks[0]).T
        points = rays / (low + (high - low) * t[mask])[:, None]
        means[mask] = transform_points(camera.world_from_camera, points)
    sizes = nearest(means, 3)[1].sqrt().mean(1, keepdim=True)
    return Splats(
        means=means,
        quats=torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1),
        log_scales=sizes.clamp_min(1e-8).log().repeat(1, 3),
        opacity_logits=torch.full((count,), OPACITY).logit(),
        sh=rgb_to_sh(torch.full((count, 1, 3), 0.5)),
    )
