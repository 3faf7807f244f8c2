"""Points in space that follow a mesh: each attached to the nearest triangles of its own part."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.neighbors import nearest
from gs_reg.tensor_dataclass import TensorDataclass

TRIANGLES = 4
CANDIDATES = 16
"""Triangles with the nearest centroids, among which the nearest are looked for."""
CLOSE = 1e-10
"""Squared distance below which a triangle carries its point alone."""


@dataclass(frozen=True)
class Attachment(TensorDataclass):
    """Of n points to k triangles each: the foot of the point in the triangle, and the rest in its own axes."""

    triangles: Int[Tensor, "n k"]
    barycentric: Float[Tensor, "n k 3"]
    rest: Float[Tensor, "n k 3"]
    weights: Float[Tensor, "n k"]


def attach(
    points: Float[Tensor, "n 3"],
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    part: Int[Tensor, "n"] | None = None,
    face_parts: Int[Tensor, "F"] | None = None,
) -> Attachment:
    """Attaches points to the nearest triangles of their part; to any, if they have none or the mesh has not.

    Differentiable in the points and vertices but for the choice of triangles. Weights fall with the squared distance.
    """
    with torch.no_grad():
        triangles = _nearest_triangles(points, vertices, faces, part, face_parts)
    corners = vertices[faces[triangles]]
    barycentric = _foot(points[:, None], corners)
    rest = points[:, None] - (barycentric[..., None] * corners).sum(-2)
    weights = 1 / (rest.square().sum(-1) + CLOSE)
    local = (_axes(corners).transpose(-1, -2) @ rest[..., None])[..., 0]
    return Attachment(triangles, barycentric, local, weights / weights.sum(-1, keepdim=True))


def carry(
    attachment: Attachment, vertices: Float[Tensor, "*B V 3"], faces: Int[Tensor, "F 3"]
) -> Float[Tensor, "*B n 3"]:
    """Where the attached points are when the mesh has moved: the weighted mean of what their triangles say."""
    corners = vertices[..., faces[attachment.triangles], :]
    foot = (attachment.barycentric[..., None] * corners).sum(-2)
    points = foot + (_axes(corners) @ attachment.rest[..., None])[..., 0]
    return (attachment.weights[..., None] * points).sum(-2)


def _nearest_triangles(
    points: Float[Tensor, "n 3"],
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    part: Int[Tensor, "n"] | None,
    face_parts: Int[Tensor, "F"] | None,
) -> Int[Tensor, "n k"]:
    """As many of each point, nearest first; the last is repeated where a part has fewer."""
    found = torch.empty(len(points), TRIANGLES, dtype=torch.long, device=points.device)
    if part is None or face_parts is None:
        own = torch.arange(len(faces), device=points.device)
        return _nearest_of(points, vertices, faces, own)
    for wanted in part.unique().tolist():
        mine = (part == wanted).nonzero()[:, 0]
        own = (face_parts == wanted).nonzero()[:, 0]
        own = own if len(own) else torch.arange(len(faces), device=points.device)
        found[mine] = _nearest_of(points[mine], vertices, faces, own)
    return found


def _nearest_of(
    points: Float[Tensor, "n 3"], vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], own: Int[Tensor, "G"]
) -> Int[Tensor, "n k"]:
    centroids = vertices[faces[own]].mean(1)
    near = own[nearest(centroids, min(CANDIDATES, len(own)), points)[0].long()]
    corners = vertices[faces[near]]
    gaps = (points[:, None] - (_foot(points[:, None], corners)[..., None] * corners).sum(-2)).square().sum(-1)
    order = gaps.argsort(dim=1, stable=True)[:, :TRIANGLES]
    found = near.gather(1, order)
    return torch.cat([found, found[:, -1:].expand(-1, TRIANGLES - found.shape[1])], dim=1)


def _foot(points: Float[Tensor, "*B 3"], corners: Float[Tensor, "*C 3 3"]) -> Float[Tensor, "*C 3"]:
    """Barycentric coordinates of the point of each triangle that is nearest to its point."""
    a, b, c = corners.unbind(-2)
    plane = _plane(points, a, b, c)
    edges = torch.stack([_edge(points, a, b, (0, 1)), _edge(points, b, c, (1, 2)), _edge(points, c, a, (2, 0))], dim=-2)
    feet = edges @ corners
    best = (points[..., None, :] - feet).square().sum(-1).argmin(-1)[..., None, None].expand(*edges.shape[:-2], 1, 3)
    inside = (plane >= 0).all(-1, keepdim=True)
    return torch.where(inside, plane, edges.gather(-2, best)[..., 0, :])


def _plane(points: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Float[Tensor, "*C 3"]:
    """Barycentric coordinates of the projection on the plane; all negative for triangles without an area."""
    u, v, w = b - a, c - a, points - a
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    uw, vw = (u * w).sum(-1), (v * w).sum(-1)
    area = uu * vv - uv * uv
    flat = area <= 1e-12 * uu * vv
    area = torch.where(flat, torch.ones_like(area), area)
    second, third = (vv * uw - uv * vw) / area, (uu * vw - uv * uw) / area
    coordinates = torch.stack([1 - second - third, second, third], dim=-1)
    return torch.where(flat[..., None], -torch.ones_like(coordinates), coordinates)


def _edge(points: Tensor, a: Tensor, b: Tensor, ends: tuple[int, int]) -> Float[Tensor, "*C 3"]:
    along = b - a
    length = along.square().sum(-1).clamp_min(torch.finfo(along.dtype).tiny)
    share = (((points - a) * along).sum(-1) / length).clamp(0, 1)
    columns = [torch.zeros_like(share)] * 3
    columns[ends[0]], columns[ends[1]] = 1 - share, share
    return torch.stack(columns, dim=-1)


def _axes(corners: Float[Tensor, "*C 3 3"]) -> Float[Tensor, "*C 3 3"]:
    """A triangle's own axes as columns: along its first edge, its normal, and what is at right angles to both."""
    along = F.normalize(corners[..., 1, :] - corners[..., 0, :], dim=-1)
    normal = torch.linalg.cross(along, corners[..., 2, :] - corners[..., 0, :])
    normal = F.normalize(normal, dim=-1)
    return torch.stack([along, normal, torch.linalg.cross(along, normal)], dim=-1)
