"""Solids that a ray meets quickly: ball, box, frustum and ring, each stretched and turned by a matrix.

`shapes.py` has exact shapes for scenes of a few photos, in float64; these are for hundreds of thousands of small
pictures, in float32 and numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

Array = np.ndarray
Kind = Literal["ball", "box", "frustum", "ring"]

RING_STEPS = 40
"""Of sphere tracing, in which a ray comes within 1e-3 of a ring unless it only grazes it."""


@dataclass(frozen=True, eq=False)
class Solid:
    """`world = matrix @ local + center`.

    Locally, with y as the axis: the unit ball; the box from -1 to 1; a frustum from y = -1, where its radius is 1, to
    y = 1, where it is `ratio`; a ring of radius 1 whose tube has radius `ratio`.
    """

    kind: Kind
    part: int
    matrix: Float[Array, "3 3"]
    center: Float[Array, "3"]
    ratio: float = 1.0

    @property
    def half(self) -> Float[Array, "3"]:
        """Half size of the local bounding box."""
        wide = {"ball": 1.0, "box": 1.0, "frustum": max(1.0, self.ratio), "ring": 1 + self.ratio}[self.kind]
        return np.array([wide, self.ratio if self.kind == "ring" else 1.0, wide], np.float32)

    def corners(self) -> Float[Array, "8 3"]:
        """Of the bounding box, in the world."""
        signs = np.stack(np.meshgrid(*[[-1, 1]] * 3, indexing="ij"), -1).reshape(8, 3)
        return signs * self.half @ self.matrix.T + self.center

    def moved(self, scale: float, offset: Float[Array, "3"]) -> Solid:
        """The solid at `scale * (world - offset)`."""
        return Solid(self.kind, self.part, self.matrix * scale, (self.center - offset) * scale, self.ratio)

    def cast(self, origin: Float[Array, "3"], directions: Float[Array, "R 3"]) -> Float[Array, "R"]:
        """Smallest positive t with origin + t * direction on the surface; inf = missed."""
        inverse = np.linalg.inv(self.matrix)
        o, d = ((origin - self.center) @ inverse.T).astype(np.float32), (directions @ inverse.T).astype(np.float32)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return _CAST[self.kind](o, d, self.ratio)

    def normals(self, points: Float[Array, "R 3"]) -> Float[Array, "R 3"]:
        """Outward unit normals at points of the surface."""
        inverse = np.linalg.inv(self.matrix)
        n = _local_normals(self.kind, (points - self.center) @ inverse.T, self.ratio) @ inverse
        return n / np.linalg.norm(n, axis=-1, keepdims=True).clip(1e-12)

    def contains(self, points: Float[Array, "R 3"], margin: float = 1e-3) -> Bool[Array, "R"]:
        """Points inside, deeper than `margin` of the local size."""
        p = (points - self.center) @ np.linalg.inv(self.matrix).T
        round_xz = np.hypot(p[:, 0], p[:, 2])
        if self.kind == "ball":
            return np.linalg.norm(p, axis=-1) < 1 - margin
        if self.kind == "box":
            return np.abs(p).max(-1) < 1 - margin
        if self.kind == "frustum":
            return (np.abs(p[:, 1]) < 1 - margin) & (round_xz < _radius(p[:, 1], self.ratio) - margin)
        return np.hypot(round_xz - 1, p[:, 1]) < self.ratio - margin

    def sample(self, count: int, rng: np.random.Generator) -> tuple[Float[Array, "count 3"], float]:
        """Points spread evenly over the surface, and its area."""
        local, local_area = _local_samples(self.kind, max(4 * count, 2000), self.ratio, rng)
        n = _local_normals(self.kind, local, self.ratio)
        n /= np.linalg.norm(n, axis=-1, keepdims=True).clip(1e-12)
        # a surface element with unit normal n grows by |det A| |A^-T n|
        growth = abs(np.linalg.det(self.matrix)) * np.linalg.norm(n @ np.linalg.inv(self.matrix), axis=-1)
        chosen = rng.choice(len(local), count, p=growth / growth.sum())
        return local[chosen] @ self.matrix.T + self.center, float(local_area * growth.mean())


def _radius(y: Array, ratio: float) -> Array:
    """Of a frustum at height y."""
    return (1 + ratio) / 2 + (ratio - 1) / 2 * y


def _nearest(*candidates: Array) -> Array:
    """Smallest positive one; NaN = missed."""
    return np.stack([np.where(t > 1e-6, t, np.inf) for t in candidates]).min(0)


def _cast_ball(o: Array, d: Array, _: float) -> Array:
    a, b, c = (d * d).sum(-1), d @ o, o @ o - 1
    root = np.sqrt(b * b - a * c)
    return _nearest((-b - root) / a, (-b + root) / a)


def _slab(o: Array, d: Array, half: Array) -> tuple[Array, Array]:
    """Where the ray enters and leaves a box; it misses where it leaves before it enters."""
    inverse = 1 / d
    first, second = (-half - o) * inverse, (half - o) * inverse
    return np.minimum(first, second).max(-1), np.maximum(first, second).min(-1)


def _cast_box(o: Array, d: Array, _: float) -> Array:
    near, far = _slab(o, d, np.ones(3, np.float32))
    return np.where(near <= far, _nearest(near, far), np.inf)


def _cast_frustum(o: Array, d: Array, ratio: float) -> Array:
    m, k = (1 + ratio) / 2, (ratio - 1) / 2
    at = m + k * o[1]
    a = d[:, 0] ** 2 + d[:, 2] ** 2 - (k * d[:, 1]) ** 2
    b = o[0] * d[:, 0] + o[2] * d[:, 2] - k * d[:, 1] * at
    root = np.sqrt(b * b - a * (o[0] ** 2 + o[2] ** 2 - at**2))
    sides = [(-b - root) / a, (-b + root) / a]
    sides = [np.where(np.abs(o[1] + t * d[:, 1]) <= 1, t, np.nan) for t in sides]
    caps = []
    for y, r in ((-1.0, 1.0), (1.0, ratio)):
        t = (y - o[1]) / d[:, 1]
        x, z = o[0] + t * d[:, 0], o[2] + t * d[:, 2]
        caps.append(np.where(x * x + z * z <= r * r, t, np.nan))
    return _nearest(*sides, *caps)


def _cast_ring(o: Array, d: Array, ratio: float) -> Array:
    near, far = _slab(o, d, np.array([1 + ratio, ratio, 1 + ratio], np.float32))
    out = np.full(len(d), np.inf, np.float32)
    rays = ((near <= far) & (far > 0)).nonzero()[0]
    length = np.linalg.norm(d[rays], axis=-1)
    t, end = near[rays].clip(0), far[rays]
    for _ in range(RING_STEPS):
        p = o + t[:, None] * d[rays]
        distance = np.hypot(np.hypot(p[:, 0], p[:, 2]) - 1, p[:, 1]) - ratio
        hit = distance < 1e-3
        out[rays[hit]] = t[hit]
        t = t + distance / length
        going = ~hit & (t < end)
        rays, length, t, end = rays[going], length[going], t[going], end[going]
    return out


_CAST = {"ball": _cast_ball, "box": _cast_box, "frustum": _cast_frustum, "ring": _cast_ring}


def _local_normals(kind: Kind, p: Array, ratio: float) -> Array:
    """Of any length."""
    if kind == "ball":
        return p
    x, y, z = p[:, 0], p[:, 1], p[:, 2]
    if kind == "box":
        sides = np.abs(p)
        return np.where(sides >= sides.max(-1, keepdims=True), np.sign(p), 0.0)
    if kind == "frustum":
        cap = np.abs(y) > 1 - 1e-3
        slope = -(ratio - 1) / 2 * _radius(y, ratio)
        return np.stack([np.where(cap, 0, x), np.where(cap, y, slope), np.where(cap, 0, z)], -1)
    across = np.hypot(x, z).clip(1e-9)
    return np.stack([x - x / across, y, z - z / across], -1)


def _local_samples(kind: Kind, n: int, ratio: float, rng: np.random.Generator) -> tuple[Array, float]:
    """Points spread evenly over the local surface, and its area."""
    if kind == "ball":
        p = rng.normal(size=(n, 3))
        return p / np.linalg.norm(p, axis=-1, keepdims=True), 4 * np.pi
    if kind == "box":
        p = rng.uniform(-1, 1, (n, 3))
        p[np.arange(n), rng.integers(0, 3, n)] = rng.choice([-1.0, 1.0], n)
        return p, 24.0
    turn = rng.uniform(0, 2 * np.pi, n)
    if kind == "frustum":
        side = np.pi * (1 + ratio) * np.hypot(2, 1 - ratio)
        areas = np.array([side, np.pi, np.pi * ratio**2])
        which = rng.choice(3, n, p=areas / areas.sum())
        # the radius at an even spread over a cone grows as the root of the share of its area
        wide = np.sqrt(rng.uniform(min(1, ratio) ** 2, max(1, ratio) ** 2, n))
        y = rng.uniform(-1, 1, n) if ratio == 1 else (wide - (1 + ratio) / 2) / ((ratio - 1) / 2)
        y = np.where(which == 0, y, np.where(which == 1, -1.0, 1.0))
        r = np.where(which == 0, _radius(y, ratio), np.sqrt(rng.random(n)) * np.where(which == 1, 1.0, ratio))
        return np.stack([r * np.cos(turn), y, r * np.sin(turn)], -1), float(areas.sum())
    around = rng.uniform(0, 2 * np.pi, n)
    keep = rng.random(n) * (1 + ratio) < 1 + ratio * np.cos(around)
    turn, around = turn[keep], around[keep]
    r = 1 + ratio * np.cos(around)
    return np.stack([r * np.cos(turn), ratio * np.sin(around), r * np.sin(turn)], -1), 4 * np.pi**2 * ratio
