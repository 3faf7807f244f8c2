"""Cameras around an object of which nothing is known but its splats."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.types import Cameras, Splats

Up = Literal["x", "y", "z", "x-down", "y-down", "z-down"]
FOV = math.radians(50)
DISTANCE = 2.5
"""From the middle, in radii of the object."""
ELEVATIONS = (0.0, 20.0, 40.0)
"""Degrees, of the rings."""
FAINT = 0.05
"""Splats of less opacity do not count as the object."""
WITHIN = 0.995
"""Share of the opacity inside the radius, so that a few stray splats do not count."""
SAMPLE = 200_000
"""So many splats, evenly picked, are enough to measure by."""


def extent(splats: Splats) -> tuple[Float[Tensor, "3"], float]:
    """Middle and radius of the object, by opacity.

    Raises:
        InputError: no splat can be seen.
    """
    good = splats.finite & (splats.opacities > FAINT)
    if not good.any():
        raise InputError(f"no splat can be seen: none is finite and has an opacity above {FAINT}")
    rows = good.nonzero()[:, 0]
    rows = rows[:: -(-len(rows) // SAMPLE)]
    means, weights = splats.means[rows], splats.opacities[rows]
    middle = torch.stack([_quantile(means[:, axis], weights, 0.5) for axis in range(3)])
    # between the ends of what is inside, not at the middle of its mass: a heavy end must not push the other out
    low = torch.stack([_quantile(means[:, axis], weights, (1 - WITHIN) / 2) for axis in range(3)])
    high = torch.stack([_quantile(means[:, axis], weights, (1 + WITHIN) / 2) for axis in range(3)])
    middle = torch.where(high > low, (low + high) / 2, middle)
    radius = float(_quantile((means - middle).norm(dim=1), weights, WITHIN))
    return middle, max(radius, 1e-6 * float(middle.abs().max()), 1e-12)


def _quantile(values: Float[Tensor, "N"], weights: Float[Tensor, "N"], share: float) -> Float[Tensor, ""]:
    """The value below which that share of the weight lies."""
    order = values.argsort()
    below = weights[order].double().cumsum(0)
    at = int(torch.searchsorted(below, share * below[-1]))
    return values[order[min(at, len(order) - 1)]]


def direction(up: Up) -> Float[Tensor, "3"]:
    axis = torch.zeros(3)
    axis["xyz".index(up[0])] = -1.0 if up.endswith("down") else 1.0
    return axis


def orbit(splats: Splats, up: Up, views: int, size: int) -> Cameras:
    """`views` cameras on rings of ELEVATIONS, each ring turned against the one before it; pictures are squares."""
    middle, radius = extent(splats)
    upwards = direction(up)
    right = direction("z" if up[0] != "z" else "x")
    ahead = torch.linalg.cross(upwards, right)
    rings = len(ELEVATIONS)
    cameras = []
    for i in range(views):
        a = 2 * math.pi * (i // rings + (i % rings) / rings) / math.ceil(views / rings)
        e = math.radians(ELEVATIONS[i % rings])
        away = math.cos(e) * (math.cos(a) * right + math.sin(a) * ahead) + math.sin(e) * upwards
        cameras.append(Cameras.look_at(middle + DISTANCE * radius * away, middle, upwards, FOV, size, size))
    return Cameras.joined(cameras)
