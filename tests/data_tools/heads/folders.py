"""Tiny captures of one subject by two cameras, in every layout that is read; the same cameras, frames and codes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT, FRAMES = 40, 60, 4
SERIALS = ("222200036", "222200037")


def rotation(yaw: float) -> np.ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def camera_pose(azimuth: float) -> np.ndarray:
    """World to camera, looking at the origin from 1.1 m; OpenCV axes, the world's y up."""
    pose = np.eye(4)
    pose[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ rotation(-azimuth)
    pose[:3, 3] = (0, 0, 1.1)
    return pose


@dataclass
class Shoot:
    """What is written; tests change it before they write."""

    serials: tuple[str, ...] = SERIALS
    frames: int = FRAMES
    poses: list[np.ndarray] = field(default_factory=lambda: [camera_pose(-0.4), camera_pose(0.3)])
    Ks: list[np.ndarray] = field(
        default_factory=lambda: [
            np.array([[150.0, 0, 17.5], [0, 152.0, 33.0], [0, 0, 1]]),
            np.array([[149.0, 0, 23.0], [0, 149.0, 28.25], [0, 0, 1]]),
        ]
    )
    sequences: tuple[str, ...] = ("EMO-1", "FREE")

    def photo(self, sequence: str, frame: int, camera: int) -> np.ndarray:
        """A colour that tells sequence, frame and camera, in broad bands."""
        image = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
        image[10:50, 5:35] = (40 + 60 * self.sequences.index(sequence), 20 * frame, 90 * camera)
        return image

    def mask(self) -> np.ndarray:
        image = np.zeros((HEIGHT, WIDTH), np.uint8)
        image[10:50, 5:35] = 255
        return image

    def codes(self, sequence: str, dim: int = 52) -> np.ndarray:
        seed = self.sequences.index(sequence)
        return np.random.default_rng(seed).uniform(0, 1, (self.frames, dim)).astype(np.float32)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def save_arrays(path: Path, **arrays: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]


def save_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def calibration(shoot: Shoot, one_for_all: bool = False) -> dict[str, object]:
    Ks = {serial: K.tolist() for serial, K in zip(shoot.serials, shoot.Ks, strict=True)}
    poses = {serial: pose.tolist() for serial, pose in zip(shoot.serials, shoot.poses, strict=True)}
    return {"world_2_cam": poses, "intrinsics": shoot.Ks[0].tolist() if one_for_all else Ks}


def head_poses(count: int, scale: float = 1.0) -> np.ndarray:
    poses = np.tile(np.eye(4), (count, 1, 1))
    for t in range(count):
        poses[t, :3, :3] = scale * rotation(0.1 * t)
        poses[t, :3, 3] = (0.01 * t, 0.02, 0)
    return poses


def write_codes(folder: Path, shoot: Shoot, sequence: str) -> None:
    arrays = {"z": shoot.codes(sequence), "head_pose": head_poses(shoot.frames), "prior": "anny", "ident": np.ones(5)}
    save_arrays(folder / "codes.npz", **arrays)


def nersemble_2(root: Path, shoot: Shoot, one_for_all: bool = False) -> Path:
    """Pictures in folders of cameras, codes.npz: as ours."""
    person = root / "017"
    save_json(person / "calibration" / "camera_params.json", calibration(shoot, one_for_all))
    for sequence in shoot.sequences:
        folder = person / "sequences" / sequence
        for c, serial in enumerate(shoot.serials):
            for t in range(shoot.frames):
                save(folder / "images" / f"cam_{serial}" / f"frame_{t:05d}.png", shoot.photo(sequence, t, c))
                save(folder / "alpha_maps" / f"cam_{serial}" / f"frame_{t:05d}.png", shoot.mask())
        write_codes(folder, shoot, sequence)
    return person


def nersemble_1(root: Path, shoot: Shoot) -> Path:
    save_json(root / "camera_params" / "018" / "camera_params.json", calibration(shoot, one_for_all=True))
    for sequence in shoot.sequences:
        folder = root / "018" / sequence
        for c, serial in enumerate(shoot.serials):
            for t in range(shoot.frames):
                save(folder / "images" / f"cam_{serial}_{t:04d}.jpg", shoot.photo(sequence, t, c))
                save(folder / "alpha_maps" / f"cam_{serial}_{t:04d}.png", shoot.mask())
        write_codes(folder, shoot, sequence)
    return root


def benchmark(root: Path, shoot: Shoot) -> Path:
    """Videos and FLAME tracking; codes only of frames 1 and on."""
    import imageio.v3 as iio

    person = root / "388"
    save_json(person / "calibration" / "camera_params.json", calibration(shoot))
    for sequence in shoot.sequences:
        folder = person / "sequences" / sequence
        for c, serial in enumerate(shoot.serials):
            for kind, frames in (
                ("images", [shoot.photo(sequence, t, c) for t in range(shoot.frames)]),
                ("alpha_maps", [np.repeat(shoot.mask()[..., None], 3, 2)] * shoot.frames),
            ):
                (folder / kind).mkdir(parents=True, exist_ok=True)
                path = folder / kind / f"cam_{serial}.mp4"
                iio.imwrite(
                    path, np.stack(frames), fps=24, codec="libx264", macro_block_size=1, output_params=["-crf", "4"]
                )
        write_flame(folder / "tracking" / "flame2023_tracking_v2.npz", shoot.frames)
    return person


def write_flame(path: Path, frames: int) -> None:
    r = np.random.default_rng(1)
    count = frames - 1
    save_arrays(
        path,
        shape=np.full((1, 300), 0.1),
        expression=r.normal(size=(count, 100)),
        rotation=r.uniform(-0.3, 0.3, (count, 3)),
        translation=r.uniform(-0.1, 0.1, (count, 3)),
        jaw=r.uniform(0, 0.2, (count, 3)),
        neck=r.uniform(0, 0.1, (count, 3)),
        eyes=r.uniform(0, 0.1, (count, 6)),
        scale=np.full((1, 1), 1.5),
        frames=np.arange(1, frames),
    )


def gaussian_avatars(root: Path, shoot: Shoot) -> Path:
    """A union set: photos of two sibling folders, the second for tests; the last camera for validation."""
    union, frames = root / "UNION", {"train": [], "val": [], "test": []}
    for sequence in shoot.sequences:
        folder = root / sequence
        for t in range(shoot.frames):
            save_arrays(folder / "flame_param" / f"{t:05d}.npz", **flame_param(t))
            for c, serial in enumerate(shoot.serials):
                name = f"{t:05d}_{c:02d}.png"
                save(folder / "images" / name, shoot.photo(sequence, t, c))
                save(folder / "fg_masks" / name, shoot.mask())
                part = "test" if sequence == "FREE" else "val" if c == len(shoot.serials) - 1 else "train"
                K = shoot.Ks[c]
                pose = np.linalg.inv(shoot.poses[c])
                pose[:3, 1:3] *= -1
                frames[part].append(
                    {
                        "timestep_index": t,
                        "camera_index": c,
                        "camera_id": serial,
                        "cx": K[0, 2],
                        "cy": K[1, 2],
                        "fl_x": K[0, 0],
                        "fl_y": K[1, 1],
                        "w": WIDTH,
                        "h": HEIGHT,
                        "camera_angle_x": 1.234,
                        "transform_matrix": pose.tolist(),
                        "file_path": f"../{sequence}/images/{name}",
                        "fg_mask_path": f"../{sequence}/fg_masks/{name}",
                        "flame_param_path": f"../{sequence}/flame_param/{t:05d}.npz",
                    }
                )
    for part, listed in frames.items():
        save_json(union / f"transforms_{part}.json", {"frames": listed})
    return union


def flame_param(t: int) -> dict[str, np.ndarray]:
    r = np.random.default_rng(t)
    return {
        "translation": r.uniform(-0.1, 0.1, (1, 3)),
        "rotation": r.uniform(-0.3, 0.3, (1, 3)),
        "neck_pose": r.uniform(-0.1, 0.1, (1, 3)),
        "jaw_pose": r.uniform(0, 0.2, (1, 3)),
        "eyes_pose": np.zeros((1, 6)),
        "shape": np.full(300, 0.1),
        "expr": r.normal(size=(1, 100)),
        "static_offset": np.zeros((1, 5, 3)),
    }


def gha(root: Path, shoot: Shoot) -> Path:
    for t in range(shoot.frames):
        for c, serial in enumerate(shoot.serials):
            save(root / "images" / f"{t:04d}" / f"image_{serial}.jpg", shoot.photo("EMO-1", t, c))
            save(root / "images" / f"{t:04d}" / f"mask_{serial}.jpg", shoot.mask())
            save(root / "images" / f"{t:04d}" / f"visible_{serial}.jpg", shoot.mask())
            pose, K = shoot.poses[c][:3], shoot.Ks[c]
            save_arrays(root / "cameras" / f"{t:04d}" / f"camera_{serial}.npz", extrinsic=pose, intrinsic=K)
        params = {"pose": np.full((1, 6), 0.1 * t), "scale": np.array([[2.0]]), "exp_coeff": np.full((1, 64), t)}
        save_arrays(root / "params" / f"{t:04d}" / "params.npz", **params, id_coeff=np.zeros((1, 100)))
    return root
