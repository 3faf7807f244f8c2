"""What a camera sees of an object before it has colours: parts, shading, gloss and patterns of each subpixel.

A picture in any colours and finishes is then a look-up, so that one set of buffers gives pictures without end, and the
true picture after an edit of colour or finish.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8

from gs_reg.types import Cameras

from .families import Object
from .solids import Array

STRIPE, CHEQUER, PART = 8, 16, 7
"""Bits of `codes`: lies on a stripe, on a dark square; and the mask of the part id (0 = background)."""
PERIOD = 0.16
"""Of stripes and squares, in radii of the object."""
SHADE_SCALE = 200.0
"""`shades` are stored in steps of 1/200, so that light surfaces may be a little brighter than their colour."""


@dataclass(frozen=True, eq=False)
class Buffers:
    """Of n pictures of S x S subpixels."""

    codes: UInt8[Array, "n S S"]
    shades: UInt8[Array, "n S S"]
    """Factor of the colour, times SHADE_SCALE."""
    gloss: UInt8[Array, "n S S"]
    """Strength of the highlight that a shiny finish has, times 255."""

    def __getitem__(self, index: slice | Array) -> Buffers:
        return Buffers(self.codes[index], self.shades[index], self.gloss[index])


def light_of(item: Object) -> Float[Array, "3"]:
    """Direction to the light of an object: from above, from any side."""
    rng = np.random.default_rng([item.seed, 77])
    turn, high = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.3)
    return np.array([np.cos(high) * np.cos(turn), np.sin(high), np.cos(high) * np.sin(turn)])


def shading(normals: Float[Array, "R 3"], light: Float[Array, "3"]) -> Float[Array, "R"]:
    """Factor of the colour, from 0.64 (turned away, from below) to 1.08."""
    return 0.7 + 0.32 * (normals @ light).clip(0) + 0.06 * normals[:, 1]


def patterns(points: Float[Array, "R 3"]) -> UInt8[Array, "R"]:
    """The bits STRIPE and CHEQUER of surface points; both are part of the object, so that all views agree."""
    # squares of a turned grid do not flicker on surfaces along an axis
    cells = np.floor(points / PERIOD + 0.37).astype(np.int64)
    stripe = (points[:, 1] / PERIOD / 1.25 + 0.21) % 1 < 0.4
    return np.where(stripe, STRIPE, 0).astype(np.uint8) | np.where(cells.sum(-1) % 2 == 0, CHEQUER, 0).astype(np.uint8)


def draw(item: Object, cameras: Cameras) -> Buffers:
    """The buffers of each camera, whose pixels are the subpixels."""
    seen = [_draw_one(item, cameras[i]) for i in range(len(cameras))]
    return Buffers(*(np.stack(values) for values in zip(*seen, strict=True)))


def _draw_one(item: Object, camera: Cameras) -> tuple[Array, Array, Array]:
    origin = camera.centers[0].double().numpy()
    depths, rows = cast(item, camera)
    hit = (rows >= 0).nonzero()
    directions = _directions(camera, slice(0, camera.width), slice(0, camera.height))[hit]
    points = origin + depths[hit][:, None] * directions
    owner = rows[hit]
    normals = np.zeros_like(points)
    for row in np.unique(owner):
        mine = owner == row
        normals[mine] = item.solids[row].normals(points[mine])
    light, view = light_of(item), -directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    halfway = light + view
    halfway /= np.linalg.norm(halfway, axis=-1, keepdims=True)
    shine = ((normals * halfway).sum(-1).clip(0)) ** 24
    out = [np.zeros(depths.shape, np.uint8) for _ in range(3)]
    parts = np.array([solid.part for solid in item.solids], np.uint8)
    out[0][hit] = parts[owner] | patterns(points)
    out[1][hit] = (shading(normals, light) * SHADE_SCALE).round().clip(0, 255)
    out[2][hit] = (shine * 255).round()
    return out[0], out[1], out[2]


def cast(item: Object, camera: Cameras) -> tuple[Float32[Array, "H W"], Array]:
    """Depth (camera z; inf = background) and row of the solid (-1 = none) of each pixel centre."""
    origin = camera.centers[0].double().numpy()
    depths = np.full((camera.height, camera.width), np.inf, np.float32)
    rows = np.full(depths.shape, -1, np.int16)
    for row, solid in enumerate(item.solids):
        xs, ys = _rectangle(solid.corners(), camera)
        if xs.stop <= xs.start or ys.stop <= ys.start:
            continue
        directions = _directions(camera, xs, ys)
        t = solid.cast(origin, directions.reshape(-1, 3)).reshape(directions.shape[:2])
        nearer = t < depths[ys, xs]
        depths[ys, xs] = np.where(nearer, t, depths[ys, xs])
        rows[ys, xs] = np.where(nearer, row, rows[ys, xs])
    return depths, rows


def _directions(camera: Cameras, xs: slice, ys: slice) -> Float[Array, "h w 3"]:
    """World directions with camera z = 1 through the pixel centres."""
    K, rotation = camera.Ks[0].double().numpy(), camera.viewmats[0, :3, :3].double().numpy()
    x = (np.arange(xs.start, xs.stop) + 0.5 - K[0, 2]) / K[0, 0]
    y = (np.arange(ys.start, ys.stop) + 0.5 - K[1, 2]) / K[1, 1]
    return rotation[2] + x[None, :, None] * rotation[0] + y[:, None, None] * rotation[1]


def _rectangle(corners: Float[Array, "8 3"], camera: Cameras) -> tuple[slice, slice]:
    """Pixels that a box may cover."""
    view, K = camera.viewmats[0].double().numpy(), camera.Ks[0].double().numpy()
    p = corners @ view[:3, :3].T + view[:3, 3]
    if p[:, 2].min() < 1e-3:
        return slice(0, camera.width), slice(0, camera.height)
    x, y = p[:, 0] / p[:, 2] * K[0, 0] + K[0, 2], p[:, 1] / p[:, 2] * K[1, 1] + K[1, 2]
    columns = np.array([np.floor(x.min()), np.ceil(x.max()) + 1]).clip(0, camera.width).astype(int)
    lines = np.array([np.floor(y.min()), np.ceil(y.max()) + 1]).clip(0, camera.height).astype(int)
    return slice(*columns), slice(*lines)
