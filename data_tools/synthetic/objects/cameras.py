"""Cameras around an object inside the unit ball: orbits as the pipeline has them, and crops on one part."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float

from gs_reg.types import Cameras

from .families import Object
from .solids import Array

FOV = math.radians(50)
DISTANCE = 2.5
"""In radii of the object, with FOV, as where a scene comes without cameras."""
ELEVATIONS = (-15.0, 45.0)
"""Degrees."""


def eye(azimuth: float, elevation: float, distance: float = DISTANCE) -> Float[Array, "3"]:
    """Position, from degrees; azimuth 0 looks at the front."""
    a, e = math.radians(azimuth), math.radians(elevation)
    return distance * np.array([math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)])


def look(position: Float[Array, "3"], target: Float[Array, "3"], fov: float, size: int) -> Cameras:
    eye_, target_, up = (torch.tensor(v, dtype=torch.float64) for v in (position, target, (0.0, 1.0, 0.0)))
    return Cameras.look_at(eye_, target_, up, fov, size, size).to(dtype=torch.float32)


def orbit(views: int, size: int, elevations: tuple[float, ...] = (0.0, 20.0, 40.0)) -> Cameras:
    """`views` cameras on rings of these elevations, each ring turned against the one before it."""
    rings = len(elevations)
    places = [
        (360 * (i // rings + (i % rings) / rings) / math.ceil(views / rings), elevations[i % rings])
        for i in range(views)
    ]
    return Cameras.joined([look(eye(*place), np.zeros(3), FOV, size) for place in places])


def random_cameras(item: Object, views: int, size: int, crops: float, rng: np.random.Generator) -> Cameras:
    """All azimuths evenly, random elevations, distances and angles; a share `crops` looks at one part from near."""
    cameras = []
    for i in rng.permutation(views):
        azimuth = 360 * (i + rng.random()) / views
        position = eye(azimuth, rng.uniform(*ELEVATIONS), rng.uniform(2.2, 3.0))
        target = rng.normal(0, 0.06, 3)
        # the angle that the object fills, a little more or less
        fov = 2 * math.asin(1 / np.linalg.norm(position)) * rng.uniform(0.8, 1.12)
        if rng.random() < crops:
            part = rng.integers(1, len(item.parts) + 1)
            corners = np.concatenate([solid.corners() for solid in item.solids if solid.part == part])
            target = (corners.min(0) + corners.max(0)) / 2 + rng.normal(0, 0.05, 3)
            reach = np.linalg.norm(corners.max(0) - corners.min(0)) / 2
            fov = min(fov, 2 * math.atan(reach * rng.uniform(1.2, 2.5) / np.linalg.norm(position - target)))
        cameras.append(look(position, target, fov, size))
    return Cameras.joined(cameras)
