"""How a viewer opens a scene: where it looks from, which way is up, how far away things are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.types import Cameras

LOOKED_AT = 20_000
"""So many splats, evenly picked, tell how far away the scene is."""


def some_of(means: Float[Tensor, "N 3"]) -> Float[Tensor, "M 3"]:
    """At most LOOKED_AT of the means, evenly picked, in double precision."""
    return means[:: max(-(-len(means) // LOOKED_AT), 1)].double()


def whole_scene(means: Float[Tensor, "M 3"]) -> Cameras:
    """A camera in front of most splats and a little above them."""
    middle = means.median(0).values
    reach = max(float((means - middle).norm(dim=1).quantile(0.9)), 1e-12)
    eye = middle + reach * means.new_tensor([0, -0.3, -2.5])
    return Cameras.look_at(eye, middle, means.new_tensor([0, -1, 0]), math.radians(50), 960, 720)


def viewing_distance(means: Float[Tensor, "M 3"], camera: Cameras) -> float:
    """Middle depth of what is seen around the middle of the picture, else of what is in front of the camera, else 1."""
    viewmat, K = camera.viewmats[0].double().cpu(), camera.Ks[0].double().cpu()
    p = means @ viewmat[:3, :3].T + viewmat[:3, 3]
    p = p[p[:, 2] > 0]
    pixels = p[:, :2] / p[:, 2:] * K[[0, 1], [0, 1]]
    size = pixels.new_tensor([camera.width, camera.height])
    central = p[(pixels.abs() < size / 4).all(dim=1)]
    depths = (central if len(central) else p)[:, 2]
    return float(depths.median()) if len(depths) else 1.0


def up_direction(cameras: Sequence[Cameras]) -> list[float]:
    """The mean of the cameras' own; that of the first if they are all around."""
    ups = torch.stack([-camera.viewmats[0, 1, :3].double().cpu() for camera in cameras])
    mean = ups.mean(dim=0)
    return torch.nn.functional.normalize(mean if float(mean.norm()) > 0.2 else ups[0], dim=0).tolist()
