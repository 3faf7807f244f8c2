"""Shapes that a ray meets in closed form, in float64. Where directions have camera z = 1, the result is the depth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Vector = tuple[float, float, float]
NEAR = 1e-9
"""Smallest ray parameter that is a hit: a ray does not meet the surface that it starts on."""


@runtime_checkable
class Shape(Protocol):
    """Anything a ray can meet."""

    def cast(
        self, origin: Float[Tensor, "3"], directions: Float[Tensor, "R 3"]
    ) -> tuple[Float[Tensor, "R"], Float[Tensor, "R 3"]]:
        """Smallest positive t with origin + t * direction on the surface (inf = missed), and unit normals there."""
        ...


def _vector(values: Vector) -> Float[Tensor, "3"]:
    return torch.tensor(values, dtype=torch.float64)


def facing(normals: Float[Tensor, "R 3"], directions: Float[Tensor, "R 3"]) -> Float[Tensor, "R 3"]:
    """The normals turned towards the origin of the rays."""
    return torch.where((normals * directions).sum(-1, keepdim=True) > 0, -normals, normals)


@dataclass(frozen=True)
class Plane:
    """A plane, or the rectangle of half sizes `extent` (horizontal, vertical) around its point."""

    point: Vector
    normal: Vector
    extent: tuple[float, float] | None = None

    def cast(
        self, origin: Float[Tensor, "3"], directions: Float[Tensor, "R 3"]
    ) -> tuple[Float[Tensor, "R"], Float[Tensor, "R 3"]]:
        normal = F.normalize(_vector(self.normal), dim=0)
        t = ((_vector(self.point) - origin) @ normal) / (directions @ normal)
        hit = t > NEAR
        if self.extent is not None:
            across = F.normalize(torch.linalg.cross(_vector((0, 1, 0)), normal), dim=0)
            axes = torch.stack([across, torch.linalg.cross(normal, across)])
            local = (origin + t[:, None] * directions - _vector(self.point)) @ axes.T
            hit &= (local.abs() <= torch.tensor(self.extent, dtype=torch.float64)).all(-1)
        return torch.where(hit, t, math.inf), facing(normal.expand_as(directions), directions)


@dataclass(frozen=True)
class Sphere:
    center: Vector
    radius: float

    def cast(
        self, origin: Float[Tensor, "3"], directions: Float[Tensor, "R 3"]
    ) -> tuple[Float[Tensor, "R"], Float[Tensor, "R 3"]]:
        center = _vector(self.center)
        a = (directions * directions).sum(-1)
        b = directions @ (origin - center)
        root = (b * b - a * ((origin - center) @ (origin - center) - self.radius**2)).sqrt()  # NaN = missed
        near, far = (-b - root) / a, (-b + root) / a
        t = torch.where(near > NEAR, near, torch.where(far > NEAR, far, math.inf))
        normals = (origin + t.nan_to_num(posinf=0.0)[:, None] * directions - center) / self.radius
        return t, facing(normals, directions)


@dataclass(frozen=True)
class Box:
    """A box turned by `yaw` radians about the vertical; seen from inside it is a room."""

    center: Vector
    half: Vector
    yaw: float = 0.0

    def cast(
        self, origin: Float[Tensor, "3"], directions: Float[Tensor, "R 3"]
    ) -> tuple[Float[Tensor, "R"], Float[Tensor, "R 3"]]:
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        turn = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=torch.float64)  # world from box
        o, d = (origin - _vector(self.center)) @ turn, directions @ turn
        half = _vector(self.half)
        first, second = (-half - o) / d, (half - o) / d
        near, near_axis = torch.minimum(first, second).max(-1)
        far, far_axis = torch.maximum(first, second).min(-1)
        t = torch.where(near > NEAR, near, far)
        axis = torch.where(near > NEAR, near_axis, far_axis)
        normals = turn.T[axis]
        return torch.where((near <= far) & (t > NEAR), t, math.inf), facing(normals, directions)
