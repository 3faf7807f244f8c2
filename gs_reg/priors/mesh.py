"""Priors that are meshes: points in space follow the nearest triangles of their part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.priors.attach import Attachment, attach, carry
from gs_reg.priors.types import UNIT_M, SurfaceSample
from gs_reg.tensor_dataclass import TensorDataclass


@runtime_checkable
class Rig(Protocol):
    """How the vertices of a head depend on the expression and on the person."""

    def vertices(
        self, z: Float[Tensor, "*B dim"], ident: Float[Tensor, "I"] | None = None
    ) -> Float[Tensor, "*B V 3"]: ...

    def from_arkit(self, a52: Float[Tensor, "*B 52"]) -> Float[Tensor, "*B dim"] | None: ...

    def random_ident(self, seed: int) -> Float[Tensor, "I"]:
        """A plausible person."""
        ...

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Rig: ...


@dataclass(frozen=True)
class HeadMesh(TensorDataclass):
    """Triangles of a head, the parts they belong to, and their place in a texture (v = 0 is its bottom row)."""

    faces: Int[Tensor, "F 3"]
    face_parts: Int[Tensor, "F"]
    vertex_parts: Int[Tensor, "V"]
    uv: Float[Tensor, "T 2"]
    faces_uv: Int[Tensor, "F 3"]


@dataclass(frozen=True)
class MeshPrior(TensorDataclass):
    """An expression prior that is a mesh with a rig."""

    name: str
    licence: str
    channels: tuple[str, ...]
    mesh: HeadMesh
    rig: Rig
    neutral: Float[Tensor, "dim"]
    lo: Float[Tensor, "dim"]
    hi: Float[Tensor, "dim"]
    unit_m: float = UNIT_M

    @property
    def dim(self) -> int:
        return len(self.channels)

    def vertices(self, z: Float[Tensor, "*B dim"], ident: Float[Tensor, "I"] | None = None) -> Float[Tensor, "*B V 3"]:
        """Vertices of expressions, in canonical units; linear in most channels and differentiable in all."""
        return self.rig.vertices(z, ident)

    def posed_mesh(
        self, z: Float[Tensor, "dim"], ident: Float[Tensor, "I"] | None = None
    ) -> tuple[Float[Tensor, "V 3"], Int[Tensor, "F 3"]]:
        return self.vertices(z, ident), self.mesh.faces

    def surface(self, ident: Float[Tensor, "I"] | None, n: int, seed: int) -> SurfaceSample:
        """n points of the neutral mesh, even by area; inner surfaces of the head (socket, teeth) are part of it."""
        generator = torch.Generator().manual_seed(seed)
        vertices, faces = self.vertices(self.neutral, ident), self.mesh.faces
        corners = vertices[faces]
        areas = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=-1)
        triangles = torch.multinomial(areas.cpu().double(), n, replacement=True, generator=generator).to(faces.device)
        split, along = torch.rand(2, n, generator=generator).to(vertices)
        split = split.sqrt()
        barycentric = torch.stack([1 - split, split * (1 - along), split * along], dim=-1)
        normals = vertex_normals(vertices, faces)[faces[triangles]]
        return SurfaceSample(
            (barycentric[..., None] * corners[triangles]).sum(1),
            F.normalize((barycentric[..., None] * normals).sum(1), dim=-1),
            self.mesh.face_parts[triangles],
            triangles,
            barycentric,
        )

    def attach(
        self,
        x: Float[Tensor, "n 3"],
        ident: Float[Tensor, "I"] | None = None,
        part: Int[Tensor, "n"] | None = None,
    ) -> Attachment:
        """The neutral mesh's hold on canonical points, for those who pose the same points often: see posed."""
        vertices = self.vertices(self.neutral, ident).to(x)
        return attach(x, vertices, self.mesh.faces, part, self.mesh.face_parts)

    def posed(
        self, attachment: Attachment, z: Float[Tensor, "*B dim"], ident: Float[Tensor, "I"] | None = None
    ) -> Float[Tensor, "*B n 3"]:
        """Where attached points go in each expression."""
        return carry(attachment, self.vertices(z, ident).to(attachment.rest), self.mesh.faces)

    def forward(
        self,
        x: Float[Tensor, "*B N 3"],
        z: Float[Tensor, "*B dim"],
        ident: Float[Tensor, "I"] | None = None,
        part: Int[Tensor, "*B N"] | None = None,
    ) -> Float[Tensor, "*B N 3"]:
        neutral = self.vertices(self.neutral, ident).to(x)
        return self._moved(x, neutral.expand(*z.shape[:-1], *neutral.shape), self.vertices(z, ident).to(x), part)

    def backward(
        self,
        x: Float[Tensor, "*B N 3"],
        z: Float[Tensor, "*B dim"],
        ident: Float[Tensor, "I"] | None = None,
        part: Int[Tensor, "*B N"] | None = None,
    ) -> tuple[Float[Tensor, "*B N 3"], None]:
        """Posed to canonical: exact on the surface; in space as exact as the mesh is smooth. No hyper coordinates."""
        neutral = self.vertices(self.neutral, ident).to(x)
        return self._moved(x, self.vertices(z, ident).to(x), neutral.expand(*z.shape[:-1], *neutral.shape), part), None

    def from_arkit(self, a52: Float[Tensor, "*B 52"]) -> Float[Tensor, "*B dim"] | None:
        return self.rig.from_arkit(a52)

    def random_ident(self, seed: int) -> Float[Tensor, "I"]:
        """A plausible person, drawn by the seed."""
        return self.rig.random_ident(seed)

    def _moved(self, x: Tensor, source: Tensor, target: Tensor, part: Tensor | None) -> Tensor:
        """Points carried from one mesh to the other, for each of the leading axes."""
        if x.ndim > 2:
            parts = [None] * len(x) if part is None else list(part)
            return torch.stack([self._moved(*one) for one in zip(x, source, target, parts, strict=True)])
        return carry(attach(x, source, self.mesh.faces, part, self.mesh.face_parts), target, self.mesh.faces)


def vertex_normals(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "V 3"]:
    """Unit normals, those of the triangles around a vertex weighted by area; 0 for vertices of no triangle."""
    corners = vertices[faces]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = torch.zeros_like(vertices).index_add(0, faces.flatten().long(), normals.repeat_interleave(3, dim=0))
    return F.normalize(total, dim=-1)
