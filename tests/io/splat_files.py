"""Splats, cameras and comparisons that the tests of splat files share."""

import torch
from scipy.spatial import cKDTree

from gs_reg.render import render
from gs_reg.rotations import quat_to_rotmat
from gs_reg.types import Cameras, Splats

SUFFIXES = [".ply", ".compressed.ply", ".spz", ".splat", ".sog", ".glb"]


def random_splats(n=100, degree=0, seed=0, size=2.0) -> Splats:
    g = torch.Generator().manual_seed(seed)
    quats = torch.nn.functional.normalize(torch.randn(n, 4, generator=g), dim=1)
    means = (torch.rand(n, 3, generator=g) * 2 - 1) * size
    sh = torch.randn(n, (degree + 1) ** 2, 3, generator=g).clamp(-1, 1) * 0.6
    return Splats(means, quats, torch.rand(n, 3, generator=g) * 4 - 5, torch.randn(n, generator=g), sh)


def asymmetric() -> Splats:
    """Three clusters along three axes, of three lengths and colours, of slanted ellipsoids: no mirroring keeps it."""
    s = random_splats(120, degree=1, seed=3, size=0.15)
    offset = torch.tensor([[0.9, 0, 0], [0, 0.6, 0], [0, 0, 0.5]]).repeat(40, 1)
    sh = s.sh * 0.3
    sh[:, 0] = torch.eye(3).repeat(40, 1) * 2.5 - 1.2
    log_scales = torch.tensor([-2.0, -3.5, -4.0]).expand(120, 3).contiguous()
    return Splats(s.means + offset, s.quats, log_scales, s.opacity_logits + 1, sh)


def covariances(s: Splats) -> torch.Tensor:
    half = quat_to_rotmat(s.quats.double()) * s.scales.double()[:, None]
    return half @ half.transpose(1, 2)


def cameras(n=4) -> Cameras:
    angle = torch.arange(n) * 2 * torch.pi / n + 0.3
    z = torch.stack([-angle.sin(), torch.full_like(angle, 0.3), -angle.cos()], 1)
    z = torch.nn.functional.normalize(z, dim=1)
    x = torch.nn.functional.normalize(torch.linalg.cross(torch.tensor([0.0, 1, 0]).expand_as(z), z), dim=1)
    rotation = torch.stack([x, torch.linalg.cross(z, x), z], 1)
    viewmats = torch.eye(4).repeat(n, 1, 1)
    viewmats[:, :3, :3], viewmats[:, 2, 3] = rotation, 4.0
    return Cameras(viewmats, torch.tensor([[60.0, 0, 32], [0, 60, 32], [0, 0, 1]]).repeat(n, 1, 1), 64, 64)


def picture_psnr(a: Splats, b: Splats) -> float:
    pictures = [render(s, cameras()).colors for s in (a, b)]
    return float(-10 * (pictures[0] - pictures[1]).square().mean().log10())


def paired(original: Splats, read: Splats) -> Splats:
    """The rows of `read` in the order of `original`; compressed PLY reorders them."""
    _, rows = cKDTree(read.means).query(original.means)
    assert len(set(rows.tolist())) == len(original)
    return read.rows(torch.from_numpy(rows))


def bits(s: Splats) -> bytes:
    return b"".join(x.contiguous().numpy().tobytes() for x in (s.means, s.quats, s.log_scales, s.opacity_logits, s.sh))


COLUMNS = [*"xyz", *(f"rot_{i}" for i in range(4)), *(f"scale_{i}" for i in range(3)), "opacity"]
COLUMNS += [f"f_dc_{i}" for i in range(3)]


def write_ply(path, table, kind="float", before="", behind="", tail=b""):
    """A PLY with COLUMNS as another program would write it, with header lines and data around the vertices."""
    head = f"ply\nformat binary_little_endian 1.0\n{before}element vertex {len(table)}\n"
    head += "".join(f"property {kind} {name}\n" for name in COLUMNS) + behind + "end_header\n"
    path.write_bytes(head.encode() + table.tobytes() + tail)
