"""What happens to the skin that the prior knows nothing of: creases, blush, shapes of pairs, a layer that slides."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from gs_reg.priors.arkit import ARKIT

from .config import Effects
from .mesh import Head, scattered, smoothed, unit, vertex_normals
from .texture import noise, smoothstep

PAIRS = (
    ("jawOpen", "mouthSmileLeft"),
    ("jawOpen", "mouthSmileRight"),
    ("mouthSmileLeft", "cheekSquintLeft"),
    ("mouthSmileRight", "cheekSquintRight"),
    ("browInnerUp", "browOuterUpLeft"),
    ("browInnerUp", "browOuterUpRight"),
    ("browDownLeft", "noseSneerLeft"),
    ("browDownRight", "noseSneerRight"),
    ("jawOpen", "mouthUpperUpLeft"),
    ("jawOpen", "mouthUpperUpRight"),
    ("mouthFrownLeft", "mouthShrugLower"),
    ("mouthFrownRight", "mouthShrugLower"),
)
LARGEST_CORRECTIVE = 0.002
LARGEST_SLIDE = 0.003
OWN_SHAPE, MOVED = 0.003, 0.005
"""Metres that a unit of a person differs from the prior's by where that moves the skin far, in each axis as a standard
deviation; where it moves the skin so far, it is 63 % of that."""
SPACING = 0.05
"""Metres between the places where a unit goes too far and too little."""
STILL_EYES = 0.022, 0.036
"""Metres from the middle of an eye: up to the first, units are the prior's, so that lids close; from the second on, the
person's."""
SLIDES: tuple[tuple[dict[str, float], tuple[float, float, float], float, tuple[float, float, float]], ...] = (
    ({"mouthSmileLeft": 1.0, "mouthFrownLeft": -0.7}, (0.045, -0.045, 0.025), 0.028, (0.5, 0.8, -0.3)),
    ({"mouthSmileRight": 1.0, "mouthFrownRight": -0.7}, (-0.045, -0.045, 0.025), 0.028, (-0.5, 0.8, -0.3)),
    ({"browInnerUp": 0.8, "browOuterUpLeft": 0.4, "browDownLeft": -1.0}, (0.0, 0.05, 0.03), 0.035, (0.0, 1.0, 0.0)),
    ({"jawOpen": 1.0}, (0.0, -0.095, 0.035), 0.035, (0.0, -1.0, 0.0)),
    ({"noseSneerLeft": 0.5, "noseSneerRight": 0.5}, (0.0, -0.02, 0.05), 0.018, (0.0, 1.0, 0.0)),
    ({"mouthLeft": 1.0, "mouthRight": -1.0}, (0.0, -0.065, 0.045), 0.03, (1.0, 0.0, 0.0)),
)
"""What drives a slide, its middle and reach from the middle of the eyes in metres, and where it goes."""
BLUSHES: tuple[tuple[tuple[str, ...], tuple[tuple[float, float, float], ...], float], ...] = (
    (("mouthSmileLeft", "mouthSmileRight", "cheekSquintLeft"), ((0.042, -0.035, 0.03), (-0.042, -0.035, 0.03)), 0.024),
    (("jawOpen", "browInnerUp", "eyeWideLeft"), ((0.0, 0.045, 0.035), (0.0, -0.03, 0.06)), 0.03),
    (("browDownLeft", "noseSneerLeft", "mouthPressLeft"), ((0.0, 0.02, 0.045), (0.0, -0.09, 0.045)), 0.026),
)
"""The mean of these units, from a tenth on, reddens the skin around those places."""


@dataclass(frozen=True)
class Skin:
    """The state of the skin at one frame."""

    vertices: Float[ndarray, "V 3"]
    wrinkle: Float[ndarray, "V"]
    """0 to 1."""
    blush: Float[ndarray, "V"]
    """0 to 1."""
    slide: Float[ndarray, "V 2"]
    """Of the second layer, in texture coordinates."""


class HiddenEffects:
    """Effects on one head."""

    def __init__(self, head: Head, effects: Effects, seed: int = 0) -> None:
        self._head, self._effects = head, effects
        self._painted = head.faces[head.painted]
        self._normals = vertex_normals(head.neutral, self._painted)
        self._rest = _metric(head.neutral, self._painted)
        self._shapes = [_corrective(head, self._normals, pair, k) for k, pair in enumerate(PAIRS)]
        self._own = _own_shapes(head, seed) if effects.shapes else None
        self._uv_of_metres = _uv_jacobian(head)
        self._from_eyes = head.neutral - head.eyes[:, :3].mean(0)

    def __call__(self, arkit: Float[ndarray, "52"]) -> Skin:
        """Vertices with their shapes of pairs, and what colours them."""
        amount = dict(zip(ARKIT, arkit, strict=True))
        vertices = self._head.posed(arkit)
        shapes = zip(PAIRS, self._shapes, strict=True)
        vertices = vertices + self._effects.correctives * sum(amount[a] * amount[b] * shape for (a, b), shape in shapes)
        creases = self._creases(vertices)
        if self._own is not None:
            vertices = vertices + self._effects.shapes * np.tensordot(arkit, self._own, 1)
        return Skin(
            vertices,
            np.clip(self._effects.wrinkles * creases, 0, 1),
            np.clip(self._effects.blush * self._redness(amount), 0, 1),
            self._effects.slide * self._slide(amount),
        )

    def _creases(self, vertices: Float[ndarray, "V 3"]) -> Float[ndarray, "V"]:
        """From the smallest stretch of each face: beyond 4 % of compression creases set in."""
        compressed = np.clip(0.96 - _smallest_stretch(self._rest, _metric(vertices, self._painted)), 0, 0.6)
        count = np.maximum(np.bincount(self._painted.ravel(), minlength=len(vertices)), 1)[:, None]
        mean = scattered(compressed[:, None], self._painted, len(vertices)) / count
        return 1 - np.exp(-6 * smoothed(mean, self._painted, 2)[:, 0])

    def _redness(self, amount: dict[str, float]) -> Float[ndarray, "V"]:
        total = np.zeros(len(self._from_eyes))
        for units, places, reach in BLUSHES:
            level = np.clip((np.mean([amount[unit] for unit in units]) - 0.1) / 0.4, 0, 1)
            for place in places:
                total += level * np.exp(-((self._from_eyes - place) ** 2).sum(1) / reach**2)
        return total

    def _slide(self, amount: dict[str, float]) -> Float[ndarray, "V 2"]:
        metres = np.zeros_like(self._from_eyes)
        for units, place, reach, direction in SLIDES:
            level = np.tanh(1.2 * sum(weight * amount[unit] for unit, weight in units.items()))
            near = np.exp(-((self._from_eyes - place) ** 2).sum(1) / reach**2)
            metres += LARGEST_SLIDE * level * near[:, None] * unit(np.array(direction))
        return np.einsum("vij,vj->vi", self._uv_of_metres, metres)


def _metric(vertices: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"]) -> Float[ndarray, "F 3"]:
    """Dot products of two edges of each face: aa, ab, bb."""
    p, q = vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]]
    return np.stack([(p * p).sum(1), (p * q).sum(1), (q * q).sum(1)], axis=1)


def _smallest_stretch(rest: Float[ndarray, "F 3"], now: Float[ndarray, "F 3"]) -> Float[ndarray, "F"]:
    """The smaller singular value of the map of each face: eigenvalues of rest⁻¹ now, both 2x2."""
    a, b, c = rest.T
    d, e, f = now.T
    determinant = np.maximum(a * c - b * b, 1e-24)
    trace = (c * d - 2 * b * e + a * f) / determinant
    product = np.maximum(d * f - e * e, 0) / determinant
    smaller = trace / 2 - np.sqrt(np.maximum(trace**2 / 4 - product, 0))
    return np.sqrt(np.maximum(smaller, 0))


def _corrective(head: Head, normals: ndarray, pair: tuple[str, str], k: int) -> Float[ndarray, "V 3"]:
    """Along the normals where both units act, in or out by turns; up to LARGEST_CORRECTIVE."""
    strength = np.ones(len(head.neutral))
    for name in pair:
        one = np.zeros(len(ARKIT))
        one[ARKIT.index(name)] = 1.0
        strength *= np.linalg.norm(head.posed(one) - head.neutral, axis=1)
    painted = np.zeros(len(strength), bool)
    painted[head.faces[head.painted]] = True
    strength = smoothed(np.sqrt(strength * painted)[:, None], head.faces[head.painted], 3)[:, 0]
    largest = strength.max()
    if largest < 1e-6:  # units that share no skin
        return np.zeros_like(normals)
    sign = 1 if (k // 2) % 2 == 0 else -1
    return sign * LARGEST_CORRECTIVE * (strength / largest * painted)[:, None] * normals


def _own_shapes(head: Head, seed: int) -> Float[ndarray, "52 V 3"]:
    """What each unit of a person moves beyond the prior's: smooth over the skin, and drawn anew for each unit."""
    painted = np.zeros(len(head.neutral), bool)
    painted[head.faces[head.painted]] = True
    from_eye = np.linalg.norm(head.neutral[:, None] - head.eyes[:, :3], axis=-1).min(1)
    free = painted * smoothstep(*STILL_EYES, from_eye)
    shapes = np.zeros((len(ARKIT), *head.neutral.shape), np.float32)
    for k in range(len(ARKIT)):
        one = np.zeros(len(ARKIT))
        one[k] = 1.0
        moved = np.linalg.norm(head.posed(one) - head.neutral, axis=1) * free
        if moved.max() == 0:
            continue
        size = OWN_SHAPE * (1 - np.exp(-smoothed(moved[:, None], head.faces[head.painted], 3)[:, 0] / MOVED)) * free
        where = [noise(head.neutral, 0.5 / SPACING, 1000 * seed + 3 * k + axis + 100) for axis in range(3)]
        shapes[k] = math.sqrt(2) * size[:, None] * np.stack(where, axis=1)
    return shapes


def _uv_jacobian(head: Head) -> Float[ndarray, "V 2 3"]:
    """Texture coordinates a metre along the surface, around each vertex."""
    faces, uv = head.faces[head.painted], head.uv[head.painted]
    p, q = (head.neutral[faces[:, k]] - head.neutral[faces[:, 0]] for k in (1, 2))
    edges = np.stack([p, q], axis=-1)
    area = np.linalg.norm(np.cross(p, q), axis=1)
    steps = np.stack([uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]], axis=-1)
    jacobian = np.where((area > 1e-12)[:, None, None], steps @ np.linalg.pinv(edges), 0.0)
    weighted = scattered((jacobian * area[:, None, None]).reshape(-1, 6), faces, len(head.neutral))
    total = scattered(area[:, None], faces, len(head.neutral))
    return (weighted / np.maximum(total, 1e-12)).reshape(-1, 2, 3)
