"""The scenes of `gs-reg bench cpu`, from fixed seeds and the real data that stays out of the package."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gs_reg.data_tools.readers.llff import NEAREST, camera_from_llff, read_table
from gs_reg.errors import InputError
from gs_reg.types import Cameras

CHANNELS = (1, 3, 4, 8, 32, 64, 128)


@dataclass(frozen=True)
class BenchScene:
    """N Gaussians with D channels, seen by one camera."""

    name: str
    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    features: Tensor
    cameras: Cameras

    @property
    def digest(self) -> str:
        """Of the generated arrays: figures of scenes that differ here are not to be compared."""
        arrays = (self.means, self.quats, self.scales, self.opacities, self.features)
        sha = hashlib.sha256()
        for array in (*arrays, self.cameras.viewmats, self.cameras.Ks):
            sha.update(array.contiguous().numpy().tobytes())
        return sha.hexdigest()[:12]


def make(name: str) -> BenchScene:
    """The scene called `name`, one of NAMES."""
    return _MAKERS[name](name)


def expanded(names: tuple[str, ...]) -> tuple[str, ...]:
    """`channels` stands for scene A with 1 to 128 channels.

    Raises:
        InputError: a name that is not known.
    """
    unknown = [name for name in names if name not in (*_MAKERS, "channels")]
    if unknown:
        raise InputError(f"scene {unknown[0]}: expected one of {', '.join(_PLAIN)}, channels")
    return tuple(one for name in names for one in (_CHANNELS if name == "channels" else [name]))


def _data(folder: str, file: str) -> Path:
    root = Path(os.environ.get("GS_REG_DATA") or Path(__file__).parents[3] / "shared" / "data")
    path = root / folder / file
    if not path.exists():
        raise InputError(f"{path}: not found; set GS_REG_DATA to the folder that holds {folder}, or use --scenes tiny")
    return path


def _scene(name: str, parts: dict[str, np.ndarray], viewmat, K, width: int, height: int, channels=3) -> BenchScene:
    colors = np.random.default_rng(7).random((len(parts["means"]), channels))
    tensors = {key: torch.from_numpy(np.float32(part)) for key, part in (parts | {"features": colors}).items()}
    matrices = [torch.from_numpy(np.float32(m))[None] for m in (viewmat, K)]
    return BenchScene(name, **tensors, cameras=Cameras(*matrices, width, height))


def _anisotropic(rng: np.random.Generator, means: np.ndarray, scale: float) -> dict[str, np.ndarray]:
    quats = rng.normal(size=(len(means), 4))
    return {
        "means": means,
        "quats": quats / np.linalg.norm(quats, axis=1, keepdims=True),
        "scales": rng.random((len(means), 3)) * scale,
        "opacities": rng.random(len(means)),
    }


def _garden(count: int, width: int, height: int, scale: float = 0.02, channels: int = 3, morton: bool = False):
    """gsplat's garden points, a part of them or repeated with jitter."""

    def scene(name: str) -> BenchScene:
        rng = np.random.default_rng(42)
        with np.load(_data("gsplat_garden", "test_garden.npz")) as table:
            points, viewmat, K = table["means3d"], table["viewmats"][0], table["Ks"][0].copy()
            K[0] *= width / table["width"]
            K[1] *= height / table["height"]
        points = points[(np.abs(points) <= 2).all(axis=1)]
        if count > len(points):
            means = np.resize(points, (count, 3)) + 0.01 * rng.normal(size=(count, 3))
        else:
            means = points[rng.permutation(len(points))[:count]]
        parts = _anisotropic(rng, means, scale)
        if morton:
            order = np.argsort(_morton(means), kind="stable")
            parts = {key: part[order] for key, part in parts.items()}
        return _scene(name, parts, viewmat, K, width, height, channels)

    return scene


def _morton(means: np.ndarray) -> np.ndarray:
    """Ten bits an axis, interleaved."""
    low, high = means.min(axis=0), means.max(axis=0)
    cells = ((means - low) / (high - low) * 1023).astype(np.int64)
    return sum((cells[:, axis] >> bit & 1) << (3 * bit + axis) for bit in range(10) for axis in range(3))


def _fern(view: int):
    """A Gaussian on every pixel of three photos, with layered depths that are drawn anew for each."""
    width, height = 504, 378

    def scene(name: str) -> BenchScene:
        rng = np.random.default_rng(0)
        rows = read_table(_data("llff_fern", "poses_bounds.npy"))
        world = 1 / (NEAREST * rows[:, 15].min())
        near, far = world * rows[:, 15].min(), world * rows[:, 16].max()
        focal = rows[0, 14] * width / rows[0, 9]
        x, y = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
        rays = np.stack([x / focal, y / focal, np.ones_like(x)], axis=-1)
        means, scales = [], []
        for row in rows[[1, 10, 19]]:
            depths = _layered_depths(rng, width, height, near, far)
            from_camera = np.linalg.inv(camera_from_llff(row))
            means.append((rays * depths[..., None]).reshape(-1, 3) @ from_camera[:3, :3].T + world * from_camera[:3, 3])
            scales.append(0.6 * depths.reshape(-1, 1) / focal)
        count = 3 * width * height
        parts = {
            "means": np.concatenate(means),
            "quats": np.tile([1.0, 0.0, 0.0, 0.0], (count, 1)),
            "scales": np.concatenate(scales).repeat(3, axis=1),
            "opacities": np.full(count, 0.5),
        }
        viewmat = camera_from_llff(rows[view])
        viewmat[:3, 3] *= world
        K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
        return _scene(name, parts, viewmat, K, width, height)

    return scene


def _layered_depths(rng: np.random.Generator, width: int, height: int, near: float, far: float) -> np.ndarray:
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)

    def at(share):
        return 1 / far + (1 / near - 1 / far) * share

    inverse = at(0.15 + 0.5 * (y / height) ** 2)
    for _ in range(40):
        center, radii = rng.uniform((0, 0), (width, height)), rng.uniform(8, 60, 2)
        inside = ((x - center[0]) / radii[0]) ** 2 + ((y - center[1]) / radii[1]) ** 2 < 1
        inverse[inside] = np.maximum(inverse[inside], at(rng.uniform(0.2, 0.9)))
    noise = rng.normal(size=(height // 12 + 1, width // 12 + 1))
    return 1 / (inverse * (1 + 0.02 * noise[(y / 12).astype(int), (x / 12).astype(int)]))


def _tiny(name: str) -> BenchScene:
    """Needs no data, and shows what a call costs by itself."""
    rng = np.random.default_rng(3)
    means = rng.uniform((-1, -1, 2), (1, 1, 4), (5000, 3))
    K = np.array([[256.0, 0, 128], [0, 256, 128], [0, 0, 1]])
    return _scene(name, _anisotropic(rng, means, 0.04), np.eye(4), K, 256, 256)


_PLAIN: dict[str, Callable[[str], BenchScene]] = {
    "A": _garden(100_000, 640, 480),
    "B": _garden(1_000_000, 1297, 840, scale=0.009),
    "B-morton": _garden(1_000_000, 1297, 840, scale=0.009, morton=True),
    "C": _garden(111_785, 1920, 1080),
    "F": _fern(view=10),
    "F-held-out": _fern(view=8),
    "tiny": _tiny,
}
_CHANNELS = {f"A/D={channels}": _garden(100_000, 640, 480, channels=channels) for channels in CHANNELS}
_MAKERS = _PLAIN | _CHANNELS
