"""A procedural object as Gaussians with the true part of each row, and as posed photos of it."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float

from gs_reg.sh import rgb_to_sh
from gs_reg.types import Cameras, Splats, Views

from .buffers import CHEQUER, STRIPE, cast, draw, light_of, patterns, shading
from .colors import Paint, base_colors, paint, second_colors
from .families import Object
from .solids import Array

THICKNESS = 0.15
"""Of a splat across the surface, over its size along it."""
CROWDED = 1.0
"""Two standard deviations of a splat along the surface, over the distance of its neighbours."""
OPACITY = 0.95
SAMPLES = 3
"""Subpixels along each side of a pixel of a photo."""


def splats_of(item: Object, look: Paint, count: int, seed: int = 0) -> Splats:
    """About `count` flat Gaussians on the visible surface, SH degree 3 with the colour in its first band.

    `extra["part"]` is the part id, counted from 1. Highlights of shiny parts are not in: they move with the camera.
    """
    rng = np.random.default_rng([seed, item.seed])
    areas = [solid.sample(200, rng)[1] for solid in item.solids]
    spacing = math.sqrt(sum(areas) / count)
    points, normals, owners = [], [], []
    for row, (solid, area) in enumerate(zip(item.solids, areas, strict=True)):
        p, _ = solid.sample(max(8, round(area / spacing**2)), rng)
        hidden = np.zeros(len(p), bool)
        for other in item.solids:
            hidden |= (other is not solid) & other.contains(p)
        points.append(p[~hidden])
        normals.append(solid.normals(p[~hidden]))
        owners.append(np.full(len(points[-1]), row))
    p, n, owner = np.concatenate(points), np.concatenate(normals), np.concatenate(owners)
    parts = np.array([solid.part for solid in item.solids])[owner]
    colors = surface_colors(p, n, parts, look, light_of(item))
    size = math.log(CROWDED * spacing / 2)
    log_scales = torch.tensor([size, size, size + math.log(THICKNESS)]).repeat(len(p), 1)
    sh = torch.zeros(len(p), 16, 3)
    sh[:, 0] = rgb_to_sh(torch.tensor(colors, dtype=torch.float32))
    return Splats(
        torch.tensor(p, dtype=torch.float32),
        torch.tensor(_quats(n), dtype=torch.float32),
        log_scales,
        torch.full((len(p),), math.log(OPACITY / (1 - OPACITY))),
        sh,
        extra={"part": torch.tensor(parts, dtype=torch.int64)},
    )


def surface_colors(
    points: Float[Array, "N 3"], normals: Float[Array, "N 3"], parts: Array, look: Paint, light: Float[Array, "3"]
) -> Float[Array, "N 3"]:
    """Of surface points, shaded, with stripes and squares, without highlights."""
    base = base_colors(look.colors)
    finish, bits = np.array(look.finishes)[parts - 1], patterns(points)
    on = ((finish == 2) & (bits & STRIPE > 0)) | ((finish == 3) & (bits & CHEQUER > 0))
    colors = np.where(on[:, None], second_colors(base)[parts - 1], base[parts - 1])
    return (colors * shading(normals, light)[:, None]).clip(0, 1)


def photos_of(item: Object, look: Paint, cameras: Cameras, background: float = 1.0) -> tuple[Views, Array]:
    """Photos with their exact depths and alphas, and the part id of each pixel centre [C, H, W]."""
    fine = cameras.resized(SAMPLES * cameras.width, SAMPLES * cameras.height)
    n = len(cameras)
    images, parts = paint(draw(item, fine), [look] * n, np.full(n, background), downscale=SAMPLES)
    depths = torch.from_numpy(np.stack([cast(item, cameras[i])[0] for i in range(n)]))
    names = tuple(f"view_{i:03d}" for i in range(n))
    depths = torch.where(depths.isfinite(), depths, 0.0)
    return Views(cameras, images, names, depths=depths, alphas=(parts > 0).float()), parts.numpy()


def _quats(normals: Float[Array, "N 3"]) -> Float[Array, "N 4"]:
    """Rotations (w, x, y, z) that take z to the normals, about the axis across both."""
    w = 1 + normals[:, 2]
    q = np.stack([w, -normals[:, 1], normals[:, 0], np.zeros(len(w))], -1)
    q[w < 1e-6] = [0, 1, 0, 0]
    return q / np.linalg.norm(q, axis=-1, keepdims=True)
