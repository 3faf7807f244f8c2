"""Cameras and lights of a synthetic capture, in its world: y up, the head near the origin, its face towards +z."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from gs_reg.types import Cameras

from .config import SERIALS, SynthConfig

AZIMUTHS = tuple(-50 + 100 * i / 7 for i in range(8))
ELEVATIONS = (18.0, -12.0)
DISTANCE = 1.1
"""Metres from the head."""
SPAN = 0.35
"""Metres that an image is high, at the head."""
TARGET = (0.0, 0.0, -0.03)
"""What the cameras look at, in the head frame of a head at rest."""
HEAD = (0.02, 0.04, -0.03)
"""Where a head at rest lies in the world; not at its origin, so that a pose that is left out shows."""
SHIFT = 25 / 550
"""Largest shift of a principal point over the width."""


def rig(config: SynthConfig) -> Cameras:
    """The cameras of `config.serials`; a camera's place and principal point depend on its serial and the seed alone."""
    views, Ks = [], []
    generator = np.random.default_rng([config.seed, 1])
    shifts = dict(zip(SERIALS, generator.uniform(-1, 1, (len(SERIALS), 2)) * SHIFT * config.width, strict=True))
    target = torch.tensor(TARGET, dtype=torch.float64) + torch.tensor(HEAD, dtype=torch.float64)
    for serial in config.serials:
        place = SERIALS.index(serial)
        azimuth, elevation = math.radians(AZIMUTHS[place % 8]), math.radians(ELEVATIONS[place // 8])
        level = math.cos(elevation) * DISTANCE
        offset = [math.sin(azimuth) * level, math.sin(elevation) * DISTANCE, math.cos(azimuth) * level]
        eye = target + torch.tensor(offset, dtype=torch.float64)
        up, fov = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64), 2 * math.atan(SPAN / 2 / DISTANCE)
        camera = Cameras.look_at(eye, target, up, fov, config.width, config.height)
        K = camera.Ks[0].clone()
        K[:2, 2] += torch.from_numpy(shifts[serial])
        views.append(camera.viewmats[0])
        Ks.append(K)
    return Cameras(torch.stack(views), torch.stack(Ks), config.width, config.height)


def lights() -> Float[ndarray, "L 4"]:
    """Unit directions to four lights, of a head that looks straight ahead, and their strengths."""
    placed = np.array(
        [[0.35, 0.5, 0.8, 0.62], [-0.6, 0.2, 0.7, 0.28], [0.0, 0.9, -0.2, 0.12], [0.1, -0.5, 0.8, 0.10]], np.float32
    )
    placed[:, :3] /= np.linalg.norm(placed[:, :3], axis=1, keepdims=True)
    return placed
