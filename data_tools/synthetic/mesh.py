"""Triangle meshes for the synthetic scenes: the nearest face, then the exact point on it in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gs_reg.errors import InputError, MissingPart

from .shapes import NEAR, Vector, facing

if TYPE_CHECKING:
    from trimesh import Trimesh
else:
    Trimesh = object  # trimesh is imported where a mesh is made: without that, importing this module is quick

BRUTE_FORCE_FACES = 2000
"""Meshes of more faces are left to open3d."""
CHUNK = 4_000_000
"""Ray-triangle pairs that are tested at a time, for memory."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh with smooth shading normals. Above 2000 faces open3d finds the faces (extra `mesh`)."""

    vertices: Float[Tensor, "V 3"]
    faces: Int[Tensor, "F 3"]

    def cast(
        self, origin: Float[Tensor, "3"], directions: Float[Tensor, "R 3"]
    ) -> tuple[Float[Tensor, "R"], Float[Tensor, "R 3"]]:
        t = torch.full((len(directions),), math.inf, dtype=torch.float64)
        normals = torch.zeros_like(directions)
        near = self._near_bounds(origin, directions).nonzero()[:, 0]
        if len(near):
            face = self._nearest_face(origin, directions[near])
            near, face = near[face >= 0], face[face >= 0]
            t[near], u, v = _intersect(self.vertices[self.faces[face]], origin, directions[near])
            corners = self.vertex_normals[self.faces[face]]
            smooth = corners[:, 0] * (1 - u - v)[:, None] + corners[:, 1] * u[:, None] + corners[:, 2] * v[:, None]
            normals[near] = F.normalize(smooth, dim=-1)
        return t, facing(normals, directions)

    @property
    def vertex_normals(self) -> Float[Tensor, "V 3"]:
        """Area-weighted mean of the normals of the faces around a vertex."""
        a, b, c = self.vertices[self.faces].unbind(1)
        face_normals = torch.linalg.cross(b - a, c - a)
        total = torch.zeros_like(self.vertices).index_add(0, self.faces.flatten(), face_normals.repeat_interleave(3, 0))
        return F.normalize(total, dim=-1)

    def placed(self, center: Vector, height: float, yaw: float = 0.0) -> Mesh:
        """The mesh turned by `yaw` about the vertical, scaled to `height` (y), the middle of its bounds at `center`."""
        c, s = math.cos(yaw), math.sin(yaw)
        turned = self.vertices @ torch.tensor([[c, 0, -s], [0, 1, 0], [s, 0, c]], dtype=torch.float64)
        low, high = turned.amin(0), turned.amax(0)
        moved = (turned - (low + high) / 2) * (height / (high - low)[1]) + torch.tensor(center, dtype=torch.float64)
        return Mesh(moved, self.faces)

    def _near_bounds(self, origin: Tensor, directions: Tensor) -> Bool[Tensor, "R"]:
        """Rays that meet the bounding sphere, a little enlarged against rounding."""
        center = (self.vertices.amin(0) + self.vertices.amax(0)) / 2
        radius = torch.linalg.norm(self.vertices - center, dim=-1).max()
        along = F.normalize(directions, dim=-1)
        return (
            torch.linalg.norm(torch.linalg.cross(along, (center - origin).expand_as(along)), dim=-1) <= radius * 1.0001
        )

    def _nearest_face(self, origin: Tensor, directions: Tensor) -> Int[Tensor, "R"]:
        if len(self.faces) > BRUTE_FORCE_FACES:
            return self._nearest_face_open3d(origin, directions)
        triangles = self.vertices[self.faces]
        best = []
        for part in directions.split(max(1, CHUNK // len(triangles))):
            t, _, _ = _intersect(triangles, origin, part, all_pairs=True)
            nearest, face = t.min(-1)
            best.append(torch.where(nearest.isfinite(), face, -1))
        return torch.cat(best)

    def _nearest_face_open3d(self, origin: Tensor, directions: Tensor) -> Int[Tensor, "R"]:
        try:
            import open3d
        except ImportError as error:
            message = f"mesh of {len(self.faces)} faces: above {BRUTE_FORCE_FACES} open3d is needed"
            raise MissingPart(f"{message}: pip install 'gs-reg[mesh]' ({error})") from error
        o3d: Any = open3d  # its type hints refuse arrays
        scene = o3d.t.geometry.RaycastingScene()
        scene.add_triangles(self.vertices.float().numpy(), self.faces.to(torch.uint32).numpy())
        rays = torch.cat([origin.expand_as(directions), directions], dim=-1).float().numpy()
        ids = torch.from_numpy(scene.cast_rays(o3d.core.Tensor(rays))["primitive_ids"].numpy().astype("int64"))
        face = torch.where(ids < len(self.faces), ids, -1)
        # float32 may name a neighbour across an edge: such a face is missed in float64, and so is the ray
        t, _, _ = _intersect(self.vertices[self.faces[face.clamp_min(0)]], origin, directions)
        return torch.where(t.isfinite(), face, -1)


def _intersect(
    triangles: Tensor, origin: Tensor, directions: Tensor, all_pairs: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Ray parameter (inf = missed) and weights of corners 1 and 2: of rays and triangles row by row, or of all pairs.

    Moeller and Trumbore, 1997; with one common origin the triple products are dots of the direction with three vectors.
    """
    a, b, c = triangles.unbind(-2)
    q = torch.linalg.cross(origin - a, b - a)
    vectors = [torch.linalg.cross(c - a, b - a), torch.linalg.cross(c - a, origin - a), q]
    det, u, v = [directions @ x.T if all_pairs else (directions * x).sum(-1) for x in vectors]
    u, v, t = u / det, v / det, ((c - a) * q).sum(-1) / det
    hit = (u >= -1e-12) & (v >= -1e-12) & (u + v <= 1 + 1e-12) & (t > NEAR)
    return torch.where(hit, t, math.inf), u, v


def torus() -> Mesh:
    """A standing ring of 768 faces."""
    import trimesh

    return _from_trimesh(trimesh.creation.torus(1.0, 0.38, major_sections=24, minor_sections=16))


def load_mesh(path: Path) -> Mesh:
    """Any triangle mesh that trimesh reads. Raises InputError for a file without triangles."""
    import trimesh

    if not path.is_file():
        raise InputError(f"{path}: no such mesh file")
    loaded = trimesh.load(path, force="mesh")
    if not isinstance(loaded, trimesh.Trimesh) or len(loaded.faces) == 0:
        raise InputError(f"{path}: expected a triangle mesh, found no faces")
    return _from_trimesh(loaded)


def _from_trimesh(mesh: Trimesh) -> Mesh:
    return Mesh(torch.tensor(mesh.vertices, dtype=torch.float64), torch.tensor(mesh.faces, dtype=torch.int64))
