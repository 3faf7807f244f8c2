"""Rotations as quaternions (w, x, y, z) and as matrices."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def quat_to_rotmat(quats: Float[Tensor, "*B 4"]) -> Float[Tensor, "*B 3 3"]:
    """Rotation of a quaternion (w, x, y, z), normalised inside."""
    w, x, y, z = F.normalize(quats, dim=-1).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def rotmat_to_quat(rotation: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 4"]:
    """Unit quaternion (w, x, y, z) with w >= 0: of four algebraically equal forms, the one with the largest pivot."""
    m = rotation
    t = m.diagonal(dim1=-2, dim2=-1)
    diag = torch.stack([t.sum(-1), t[..., 0] * 2 - t.sum(-1), t[..., 1] * 2 - t.sum(-1), t[..., 2] * 2 - t.sum(-1)], -1)
    a, b, c = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    p, q, r = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    n0, n1, n2, n3 = (1 + diag).unbind(-1)
    forms = [[n0, a, b, c], [a, n1, p, q], [b, p, n2, r], [c, q, r, n3]]
    table = torch.stack([torch.stack(form, dim=-1) for form in forms], dim=-2)
    pivot = diag.argmax(-1)[..., None, None].expand(*diag.shape[:-1], 1, 4)
    quat = F.normalize(table.gather(-2, pivot)[..., 0, :], dim=-1)
    return torch.where(quat[..., :1] < 0, -quat, quat)


def quat_multiply(a: Float[Tensor, "*B 4"], b: Float[Tensor, "*B 4"]) -> Float[Tensor, "*B 4"]:
    """The rotation b first, then a."""
    aw, av, bw, bv = a[..., :1], a[..., 1:], b[..., :1], b[..., 1:]
    return torch.cat([aw * bw - (av * bv).sum(-1, keepdim=True), aw * bv + bw * av + torch.linalg.cross(av, bv)], -1)


def rotvec_to_quat(vectors: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 4"]:
    """Unit quaternion of the rotation about each vector by its length in radians; smooth at 0 too."""
    half = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True) / 2
    return torch.cat([half.cos(), torch.sinc(half / torch.pi) / 2 * vectors], dim=-1)
