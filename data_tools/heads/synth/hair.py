"""Hair: tapered tubes of short strands, combed back and down over the scalp."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from .mesh import Head, unit, vertex_normals
from .texture import noise, scalp_weight

POINTS = 6
"""Of a strand."""
SIDES = 3
"""Of a tube."""
THICK, THIN = 0.0008, 0.0002
"""Radius at the root and at the tip, in metres."""


@dataclass(frozen=True)
class Hair:
    """S strands on a neutral head."""

    points: Float[ndarray, "S 6 3"]
    rings: Float[ndarray, "S 6 3 3"]
    """From a strand's points to the vertices around them."""
    roots: Int[ndarray, "S"]
    """Vertices of the head that strands follow."""
    faces: Int[ndarray, "F 3"]
    """Of strands * POINTS * SIDES vertices."""
    tints: Float[ndarray, "F"]

    def posed(self, moved: Float[ndarray, "V 3"], lag: Float[ndarray, "3 3"]) -> Float[ndarray, "W 3"]:
        """Vertices, when those of the head have moved by `moved`; `lag` is the turn that tips are behind by."""
        root = self.points[:, :1]
        along = np.linspace(0, 1, POINTS)[None, :, None] ** 2
        behind = (self.points - root) @ lag.T - (self.points - root)
        points = self.points + moved[self.roots][:, None] + along * behind
        return (points[:, :, None] + self.rings).reshape(-1, 3)

    @property
    def normals(self) -> Float[ndarray, "W 3"]:
        flat = self.rings.reshape(-1, 3)
        return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)


def grow(mesh: Head, strands: int, seed: int) -> Hair:
    """Roots are even over the scalp; a strand lies some millimetres above it and ends after 2 to 4 cm."""
    from scipy.spatial import KDTree

    r = np.random.default_rng([seed, 4])
    weight = scalp_weight(mesh, mesh.neutral)
    faces = mesh.faces[mesh.painted]
    faces = faces[weight[faces].min(1) > 0.5]
    normals = vertex_normals(mesh.neutral, mesh.faces[mesh.painted])
    a, b, c = (mesh.neutral[faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    chosen = np.sort(r.choice(len(faces), size=strands, p=area / area.sum()))
    u = np.sqrt(r.random(strands))[:, None]
    v = r.random(strands)[:, None]
    p = (1 - u) * a[chosen] + u * (1 - v) * b[chosen] + u * v * c[chosen]
    scalp = np.unique(mesh.faces[mesh.painted])
    tree = KDTree(mesh.neutral[scalp])
    step = r.uniform(0.020, 0.040, strands)[:, None] / (POINTS - 1)
    height = r.uniform(0.0015, 0.006, strands)
    turn = 0.5 * np.stack([noise(p, 14, seed + 20 + k) for k in range(3)], 1) + 0.25 * r.normal(size=(strands, 3))
    middle = mesh.eyes[:, :3].mean(0)
    points = [p]
    for k in range(1, POINTS):
        nearest = scalp[tree.query(p)[1]]
        n = normals[nearest]
        ahead = np.where((p[:, 1] > middle[1] + 0.085)[:, None], [0.0, 0.0, -1.0], [0.0, -1.0, -0.35])
        comb = ahead + turn
        comb -= (comb * n).sum(1, keepdims=True) * n
        p = p + step * unit(unit(comb) + 0.5 * n * (k == 1))
        nearest = scalp[tree.query(p)[1]]
        above = ((p - mesh.neutral[nearest]) * normals[nearest]).sum(1)
        p = p + (np.maximum(height * min(k / 2, 1) - above, 0))[:, None] * normals[nearest]
        points.append(p)
    path = np.stack(points, axis=1)
    return Hair(path, _rings(path), faces[chosen][:, 0], *_tubes(strands, r))


def _rings(path: Float[ndarray, "S P 3"]) -> Float[ndarray, "S P K 3"]:
    forward = unit(np.gradient(path, axis=1))
    side = unit(np.cross(forward, [0.31, 0.17, 0.94]))
    other = np.cross(forward, side)
    angle = 2 * np.pi * np.arange(SIDES) / SIDES
    radius = np.linspace(THICK, THIN, path.shape[1])[None, :, None, None]
    around = np.cos(angle)[:, None] * side[:, :, None] + np.sin(angle)[:, None] * other[:, :, None]
    return radius * around


def _tubes(strands: int, r: np.random.Generator) -> tuple[ndarray, ndarray]:
    quads = []
    for k in range(POINTS - 1):
        for i in range(SIDES):
            j = (i + 1) % SIDES
            here, there = k * SIDES, (k + 1) * SIDES
            quads += [[here + i, here + j, there + j], [here + i, there + j, there + i]]
    one = np.array(quads, np.int32)
    faces = one[None] + (np.arange(strands, dtype=np.int32) * POINTS * SIDES)[:, None, None]
    return faces.reshape(-1, 3), np.repeat(r.uniform(0.7, 1.5, strands), len(one))
