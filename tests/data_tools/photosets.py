"""Tiny photo folders of one scene in every layout, written by hand so that the readers are checked from outside."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

NEAR, FAR = 2.0, 9.0


@dataclass(frozen=True)
class Shot:
    """A photo with its camera in the source's frame."""

    name: str
    pixels: np.ndarray
    pose: np.ndarray
    """Camera from source, OpenCV axes."""
    f: float

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def K(self) -> np.ndarray:
        width, height = self.size
        return np.array([[self.f, 0, width / 2], [0, self.f, height / 2], [0, 0, 1]])

    @property
    def world_from_camera(self) -> np.ndarray:
        return np.linalg.inv(self.pose)


def rotation(axis: Sequence[float], angle: float) -> np.ndarray:
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def shoot(count: int = 4, width: int = 48, height: int = 36, focal: float = 50.0) -> list[Shot]:
    """Photos of noise, from differently turned cameras around (7, -3, 12); all photos differ, so a mix-up shows."""
    rng = np.random.default_rng(5)
    shots = []
    for i in range(count):
        pose = np.eye(4)
        pose[:3, :3] = rotation(rng.normal(size=3), 0.3 + 0.2 * i)
        pose[:3, 3] = -pose[:3, :3] @ (np.array([7.0, -3.0, 12.0]) + rng.normal(size=3))
        shots.append(Shot(f"shot_{i:02d}.png", rng.integers(0, 256, (height, width, 3), dtype=np.uint8), pose, focal))
    return shots


def write_photos(folder: Path, shots: Sequence[Shot]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for shot in shots:
        Image.fromarray(shot.pixels).save(folder / shot.name)


def write_llff(root: Path, shots: Sequence[Shot]) -> Path:
    """Camera-to-world with axes down, right, back."""
    write_photos(root / "images", shots)
    rows = []
    for shot in shots:
        right, down, forward, center = shot.world_from_camera[:3].T
        size = np.array([shot.size[1], shot.size[0], shot.f])
        rows.append([*np.stack([down, right, -forward, center, size], axis=1).ravel(), NEAR, FAR])
    np.save(root / "poses_bounds.npy", np.array(rows))
    return root


def write_transforms(root: Path, shots: Sequence[Shot], **head) -> Path:
    """Camera-to-world with axes right, up, back; `head` adds keys or replaces them."""
    write_photos(root / "images", shots)
    (width, height), f = shots[0].size, shots[0].f
    flip = np.diag([1.0, -1.0, -1.0, 1.0])
    frames = [
        {"file_path": f"images/{s.name}", "transform_matrix": (s.world_from_camera @ flip).tolist()} for s in shots
    ]
    usual = {"fl_x": f, "fl_y": f, "cx": width / 2, "cy": height / 2, "w": width, "h": height, "frames": frames}
    (root / "transforms.json").write_text(json.dumps({**usual, **head}))
    return root


def write_strecha(root: Path, shots: Sequence[Shot]) -> Path:
    write_photos(root / "images", shots)
    (root / "cameras").mkdir()
    for shot in shots:
        pose = shot.world_from_camera
        rows = [*shot.K, np.zeros(3), *pose[:3, :3], pose[:3, 3], shot.size]
        text = "\n".join(" ".join(repr(float(x)) for x in row) for row in rows)
        (root / "cameras" / f"{shot.name}.camera").write_text(text)
    return root


def write_temple(root: Path, shots: Sequence[Shot]) -> Path:
    write_photos(root, shots)
    lines = [str(len(shots))]
    for shot in shots:
        numbers = [*shot.K.ravel(), *shot.pose[:3, :3].ravel(), *shot.pose[:3, 3]]
        lines.append(" ".join([shot.name, *(repr(float(x)) for x in numbers)]))
    (root / "temple_par.txt").write_text("\n".join(lines))
    return root


def write_stereo(root: Path, width: int = 48, height: int = 36) -> Path:
    """Two photos 0.2 m apart, principal points 24 and 27."""
    first, second = shoot(2, width, height)
    root.mkdir(parents=True, exist_ok=True)
    Image.fromarray(first.pixels).save(root / "im0.png")
    Image.fromarray(second.pixels).save(root / "im1.png")
    (root / "calib.txt").write_text(
        "cam0=[50.5 0 24; 0 50.5 17.5; 0 0 1]\ncam1=[50.5 0 27; 0 50.5 17.5; 0 0 1]\n"
        f"doffs=3\nbaseline=200\nwidth={width}\nheight={height}\nndisp=60\n"
    )
    return root


def quaternion(matrix: np.ndarray) -> np.ndarray:
    """w, x, y, z: the eigenvector of the largest eigenvalue of Bar-Itzhack's matrix."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    rows = [[a + e + i, h - f, c - g, d - b], [h - f, a - e - i, b + d, c + g]]
    rows += [[c - g, b + d, e - a - i, f + h], [d - b, c + g, f + h, i - a - e]]
    return np.linalg.eigh(np.array(rows) / 3)[1][:, -1]


def points_of(shots: Sequence[Shot]) -> np.ndarray:
    """Three points, one of them (the last) at the first camera's centre."""
    return np.array([[6.0, -2.0, 17.0], [8.5, -3.5, 19.0], shots[0].world_from_camera[:3, 3]])


def write_old_colmap(root: Path, shots: Sequence[Shot], text: bool, ids: Sequence[int] | None = None) -> Path:
    """The three files that COLMAP wrote before there were rigs: one camera for all, each point seen by two photos."""
    write_photos(root / "images", shots)
    model = root / "sparse" / "0"
    model.mkdir(parents=True)
    ids = list(ids or range(1, len(shots) + 1))
    (width, height), f = shots[0].size, shots[0].f
    poses = [(*quaternion(s.pose[:3, :3]), *s.pose[:3, 3]) for s in shots]
    points = points_of(shots)
    seen = [(10.5, 4.25, 1), (20.0, 30.5, 2), (3.5, 7.0, 3)]
    if text:
        (model / "cameras.txt").write_text(f"# one\n7 SIMPLE_PINHOLE {width} {height} {f} {width / 2} {height / 2}\n")
        lines = []
        for i, shot, pose in zip(ids, shots, poses, strict=True):
            lines += [f"{i} {' '.join(repr(float(x)) for x in pose)} 7 {shot.name}"]
            lines += [" ".join(f"{x} {y} {p if i in ids[:2] else -1}" for x, y, p in seen)]
        (model / "images.txt").write_text("\n".join(lines) + "\n")
        track = f"{ids[0]} %d {ids[1]} %d"
        rows = [f"{k + 1} {x} {y} {z} 9 9 9 0.5 {track % (k, k)}" for k, (x, y, z) in enumerate(points.tolist())]
        (model / "points3D.txt").write_text("\n".join(rows) + "\n")
        return root
    (model / "cameras.bin").write_bytes(struct.pack("<QIiQQ3d", 1, 7, 0, width, height, f, width / 2, height / 2))
    images = struct.pack("<Q", len(shots))
    for i, shot, pose in zip(ids, shots, poses, strict=True):
        images += struct.pack("<I7dI", i, *pose, 7) + shot.name.encode() + b"\0" + struct.pack("<Q", len(seen))
        for x, y, p in seen:
            images += struct.pack("<ddQ", x, y, p if i in ids[:2] else 2**64 - 1)
    (model / "images.bin").write_bytes(images)
    packed = struct.pack("<Q", len(points))
    for k, point in enumerate(points):
        packed += struct.pack("<Q3d3BdQ4I", k + 1, *point, 9, 9, 9, 0.5, 2, ids[0], k, ids[1], k)
    (model / "points3D.bin").write_bytes(packed)
    return root


def write_new_colmap(root: Path, shots: Sequence[Shot], text: bool = False, model: str = "", params=()) -> Path:
    """The five files of today, with rigs and frames, by pycolmap."""
    import pycolmap

    write_photos(root / "images", shots)
    reconstruction = pycolmap.Reconstruction()
    (width, height), f = shots[0].size, shots[0].f
    params = params or (f, width / 2, height / 2)
    camera = pycolmap.Camera(model=model or "SIMPLE_PINHOLE", width=width, height=height, params=params, camera_id=3)
    reconstruction.add_camera_with_trivial_rig(camera)
    for i, shot in enumerate(shots):
        image = pycolmap.Image(name=shot.name, camera_id=3, image_id=i + 1)
        reconstruction.add_image_with_trivial_frame(image, pycolmap.Rigid3d(shot.pose[:3]))
    for point in points_of(shots):
        reconstruction.add_point3D(point, pycolmap.Track(), np.zeros(3, np.uint8))
    folder = root / "sparse" / "0"
    folder.mkdir(parents=True)
    (reconstruction.write_text if text else reconstruction.write_binary)(str(folder))
    return root
