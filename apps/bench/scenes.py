"""The scenes of `gs-reg bench cpu`, made from fixed seeds and from real data that is not part of the package."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from gs_reg.data_tools.readers.llff import NEAREST, camera_from_llff, read_table
from gs_reg.errors import InputError
from gs_reg.types import Cameras

CHANNELS = (1, 3, 4, 8, 32, 64, 128)


@dataclass(frozen=True)
class BenchScene:
    """N Gaussians with D channels, seen by one camera."""

    name: str
    means: Float[Tensor, "N 3"]
    quats: Float[Tensor, "N 4"]
    scales: Float[Tensor, "N 3"]
    opacities: Float[Tensor, "N"]
    features: Float[Tensor, "N D"]
    cameras: Cameras

    @property
    def digest(self) -> str:
        """Hash of all arrays. Figures may be compared only where it is the same."""
        arrays = (self.means, self.quats, self.scales, self.opacities, self.features)
        sha = hashlib.sha256()
        for array in (*arrays, self.cameras.viewmats, self.cameras.Ks):
            sha.update(array.contiguous().numpy().tobytes())
        return sha.hexdigest()[:12]


SceneMaker = Callable[[str], BenchScene]
"""Makes a scene of the given name."""


def make(name: str) -> BenchScene:
    """The scene called `name`, one of those that expanded() returns."""
    return _MAKERS[name](name)


def expanded(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, with `channels` replaced by the names of scene A with 1 to 128 channels.

    Raises:
        InputError: an unknown name.
    """
    unknown = [name for name in names if name not in (*_MAKERS, "channels")]
    if unknown:
        raise InputError(f"scene {unknown[0]}: expected one of {', '.join(_SINGLE)}, channels")
    return tuple(one for name in names for one in (_CHANNELS if name == "channels" else [name]))


def _data(folder: str, file: str) -> Path:
    """A file of the real data.

    Raises:
        InputError: it is not there.
    """
    root = Path(os.environ.get("GS_REG_DATA") or Path(__file__).parents[3] / "shared" / "data")
    path = root / folder / file
    if not path.exists():
        raise InputError(f"{path}: not found; set GS_REG_DATA to the folder that holds {folder}, or use --scenes tiny")
    return path


@dataclass(frozen=True)
class _Camera:
    viewmat: ndarray
    K: ndarray
    width: int
    height: int


def _scene(name: str, arrays: dict[str, ndarray], camera: _Camera, channels: int = 3) -> BenchScene:
    """The scene in float32, with random features."""
    features = np.random.default_rng(7).random((len(arrays["means"]), channels))
    tensors = {key: _float32(array) for key, array in (arrays | {"features": features}).items()}
    cameras = Cameras(_float32(camera.viewmat)[None], _float32(camera.K)[None], camera.width, camera.height)
    return BenchScene(name, **tensors, cameras=cameras)


def _float32(array: ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(array, np.float32))


def _anisotropic(rng: np.random.Generator, means: ndarray, scale: float) -> dict[str, ndarray]:
    """Random rotations, opacities, and scales up to `scale`."""
    quats = rng.normal(size=(len(means), 4))
    return {
        "means": means,
        "quats": quats / np.linalg.norm(quats, axis=1, keepdims=True),
        "scales": rng.random((len(means), 3)) * scale,
        "opacities": rng.random(len(means)),
    }


def _garden(
    count: int, width: int, height: int, scale: float = 0.02, channels: int = 3, morton: bool = False
) -> SceneMaker:
    """gsplat's points of the garden scene: a random selection, or all repeated with noise; `morton` sorts them."""

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
        arrays = _anisotropic(rng, means, scale)
        if morton:
            order = np.argsort(_morton(means), kind="stable")
            arrays = {key: array[order] for key, array in arrays.items()}
        return _scene(name, arrays, _Camera(viewmat, K, width, height), channels)

    return scene


def _morton(means: ndarray) -> ndarray:
    """Morton codes: ten bits of each coordinate, interleaved."""
    low, high = means.min(axis=0), means.max(axis=0)
    cells = ((means - low) / (high - low) * 1023).astype(np.int64)
    codes = np.zeros(len(means), np.int64)
    for bit in range(10):
        for axis in range(3):
            codes |= (cells[:, axis] >> bit & 1) << (3 * bit + axis)
    return codes


def _fern(view: int) -> SceneMaker:
    """One Gaussian for each pixel of three photos of llff_fern, at random depths; seen from photo number `view`."""
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
        arrays = {
            "means": np.concatenate(means),
            "quats": np.tile([1.0, 0.0, 0.0, 0.0], (count, 1)),
            "scales": np.concatenate(scales).repeat(3, axis=1),
            "opacities": np.full(count, 0.5),
        }
        viewmat = camera_from_llff(rows[view])
        viewmat[:3, 3] *= world
        K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
        return _scene(name, arrays, _Camera(viewmat, K, width, height))

    return scene


def _layered_depths(rng: np.random.Generator, width: int, height: int, near: float, far: float) -> ndarray:
    """A sloping ground, 40 ellipses before it, and 2 % of noise in blocks of 12 pixels."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)

    def disparity(share: float | ndarray) -> ndarray:
        return np.asarray(1 / far + (1 / near - 1 / far) * share)

    inverse = disparity(0.15 + 0.5 * (y / height) ** 2)
    for _ in range(40):
        center, radii = rng.uniform((0, 0), (width, height)), rng.uniform(8, 60, 2)
        inside = ((x - center[0]) / radii[0]) ** 2 + ((y - center[1]) / radii[1]) ** 2 < 1
        inverse[inside] = np.maximum(inverse[inside], disparity(rng.uniform(0.2, 0.9)))
    noise = rng.normal(size=(height // 12 + 1, width // 12 + 1))
    return 1 / (inverse * (1 + 0.02 * noise[(y / 12).astype(int), (x / 12).astype(int)]))


def _tiny(name: str) -> BenchScene:
    """Needs no data; so small that it shows the cost of the calls themselves."""
    rng = np.random.default_rng(3)
    means = rng.uniform((-1, -1, 2), (1, 1, 4), (5000, 3))
    K = np.array([[256.0, 0, 128], [0, 256, 128], [0, 0, 1]])
    return _scene(name, _anisotropic(rng, means, 0.04), _Camera(np.eye(4), K, 256, 256))


_SINGLE: dict[str, SceneMaker] = {
    "A": _garden(100_000, 640, 480),
    "B": _garden(1_000_000, 1297, 840, scale=0.009),
    "B-morton": _garden(1_000_000, 1297, 840, scale=0.009, morton=True),
    "C": _garden(111_785, 1920, 1080),
    "F": _fern(view=10),
    "F-held-out": _fern(view=8),
    "tiny": _tiny,
}
_CHANNELS: dict[str, SceneMaker] = {
    f"A/D={channels}": _garden(100_000, 640, 480, channels=channels) for channels in CHANNELS
}
_MAKERS = _SINGLE | _CHANNELS
