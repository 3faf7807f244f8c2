"""The head of a synthetic capture as a textured mesh in metres, out of a prior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from gs_reg.priors.mesh import MeshPrior
from gs_reg.priors.regions import SOCKET
from gs_reg.priors.types import Part

PAINTED = (
    Part.SKIN,
    Part.LIP_UPPER,
    Part.LIP_LOWER,
    Part.LID_UPPER,
    Part.LID_LOWER,
    *SOCKET,
    Part.SCALP,
    Part.EAR,
    Part.NECK,
    Part.OTHER,
)
"""Parts that the atlas paints."""


@dataclass(frozen=True)
class Head:
    """V vertices and F triangles, in the head frame and metres."""

    neutral: Float[ndarray, "V 3"]
    faces: Int[ndarray, "F 3"]
    parts: Int[ndarray, "V"]
    face_parts: Int[ndarray, "F"]
    uv: Float[ndarray, "F 3 2"]
    """Of the atlas: in [0, 1] on the painted faces, first row first."""
    posed: Callable[[Float[ndarray, "52"]], Float[ndarray, "V 3"]]
    """Vertices for ARKit coefficients, as the prior has them."""
    eyes: Float[ndarray, "2 4"]
    """Centre and radius of the left and the right eyeball."""

    @property
    def painted(self) -> ndarray:
        """Mask of faces."""
        return np.isin(self.face_parts, PAINTED)

    def vertices_of(self, *parts: Part) -> ndarray:
        """Mask of vertices."""
        return np.isin(self.parts, parts)


def head_of(prior: MeshPrior, ident: Float[Tensor, "I"] | None) -> Head:
    """The prior's head of one person."""
    mesh = prior.mesh
    faces, parts, face_parts = (t.numpy() for t in (mesh.faces, mesh.vertex_parts, mesh.face_parts))
    uv = mesh.uv.numpy().astype(np.float64)[mesh.faces_uv.numpy()]

    def posed(a52: Float[ndarray, "52"]) -> Float[ndarray, "V 3"]:
        code = prior.from_arkit(torch.from_numpy(a52).float())
        assert code is not None
        return prior.vertices(code, ident).numpy().astype(np.float64) * prior.unit_m

    neutral = prior.vertices(prior.neutral, ident).numpy().astype(np.float64) * prior.unit_m
    uv = uv_fitted(uv, np.isin(face_parts, PAINTED))
    return Head(neutral, faces, parts, face_parts, uv, posed, eyeballs(neutral, parts))


def vertex_normals(vertices: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"]) -> Float[ndarray, "V 3"]:
    """Area-weighted."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return unit(scattered(np.cross(b - a, c - a), faces, len(vertices)))


def scattered(values: Float[ndarray, "F C"], faces: Int[ndarray, "F 3"], count: int) -> Float[ndarray, "V C"]:
    """Sums of the values of the faces around each vertex."""
    rows = faces.ravel(order="F")
    columns = [np.bincount(rows, np.tile(column, 3), count) for column in values.T]
    return np.stack(columns, axis=1)


def smoothed(values: Float[ndarray, "V C"], faces: Int[ndarray, "F 3"], rounds: int) -> Float[ndarray, "V C"]:
    """Means over the faces around each vertex, again and again."""
    count = np.maximum(np.bincount(faces.ravel(), minlength=len(values)), 1)[:, None]
    for _ in range(rounds):
        values = scattered(values[faces].mean(axis=1), faces, len(values)) / count
    return values


def unit(vectors: ndarray) -> ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def uv_fitted(uv: Float[ndarray, "F 3 2"], painted: ndarray) -> Float[ndarray, "F 3 2"]:
    """Texture coordinates of OBJ files, so that the painted faces fill the atlas; 0 is its first row."""
    low, high = uv[painted].min((0, 1)), uv[painted].max((0, 1))
    fitted = 0.01 + 0.98 * (uv - low) / (high - low)
    fitted[..., 1] = 1 - fitted[..., 1]
    return np.where(painted[:, None, None], fitted, 0.0)


def eyeballs(vertices: Float[ndarray, "V 3"], parts: Int[ndarray, "V"]) -> Float[ndarray, "2 4"]:
    """Centre and radius of the left (x > 0) and the right one."""
    found = []
    for side in (1, -1):
        ball = vertices[(parts == Part.EYE) & (vertices[:, 0] * side > 0)]
        low, high = ball.min(0), ball.max(0)
        found.append([*(low + high) / 2, (high - low)[1] / 2])
    return np.array(found)
