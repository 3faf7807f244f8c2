"""Middlebury stereo: folders with calib.txt, im0 and im1, and the pair that scikit-image carries ("motorcycle")."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.types import Cameras, Views

from ..photos.images import list_photos, read_pixels
from .parsing import number, pinhole_params, read_text
from .types import Source, SourceCamera, SourceFrame

MOTORCYCLE = "motorcycle"
"""Written in place of a folder: the built-in pair, 741x500 (Scharstein et al., GCPR 2014)."""
FOCAL, CX_LEFT, CX_RIGHT, CY, BASELINE = 994.978, 311.193, 342.279, 254.877, 0.193001
WIDTH, HEIGHT = 741, 500


def motorcycle_views() -> tuple[Views, Views]:
    """Left and right photo; the left camera is the world, in metres, the right one lies a baseline along +x."""
    source = motorcycle_source()
    views = []
    for frame in source.frames:
        pixels = read_pixels(frame.paths[1], upright=False)
        fx, fy, cx, cy = frame.camera.params
        K = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        pose = torch.from_numpy(frame.camera_from_source).float()
        cameras = Cameras(pose[None], K[None], WIDTH, HEIGHT)
        views.append(Views(cameras, torch.from_numpy(pixels.copy())[None].float() / 255, (frame.name,)))
    return views[0], views[1]


def motorcycle_disparity() -> Float[Tensor, "H W"]:
    """Measured disparity of the left photo in pixels, x_left - x_right; NaN = unknown (the file has inf there)."""
    from skimage import data

    disparity = torch.from_numpy(np.asarray(data.stereo_motorcycle()[2], dtype=np.float32).copy())
    return torch.where(disparity.isfinite(), disparity, torch.nan)


def motorcycle_depth() -> Float[Tensor, "H W"]:
    """Measured depth of the left photo in metres, z = f B / (d + cx_right - cx_left); NaN = unknown."""
    return FOCAL * BASELINE / (motorcycle_disparity() + (CX_RIGHT - CX_LEFT))


def motorcycle_source() -> Source:
    """The built-in pair as a source; the photos stay in scikit-image's folder."""
    from skimage import data

    folder = Path(data.__file__).parent
    frames = []
    for name, cx, shift in (("motorcycle_left.png", CX_LEFT, 0.0), ("motorcycle_right.png", CX_RIGHT, BASELINE)):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder / name}: this scikit-image does not carry the pair: install scikit-image >= 0.24"
            )
        camera = SourceCamera("PINHOLE", (FOCAL, FOCAL, cx, CY), WIDTH, HEIGHT)
        frames.append(SourceFrame(name, {1: folder / name}, camera, _shifted(shift)))
    return Source("middlebury-stereo", folder, tuple(frames), units="metres")


def find(root: Path) -> Path | None:
    """The calib.txt of a stereo folder."""
    return root / "calib.txt" if (root / "calib.txt").is_file() and _photo(root, "im0") else None


def read(root: Path, images: Path | None) -> Source:
    """calib.txt with cam0, cam1 ([f 0 cx; 0 f cy; 0 0 1]), baseline in millimetres, width and height.

    Raises:
        InputError: missing photos or keys.
    """
    if images is not None:
        raise InputError(f"{root}: --images does not apply to a stereo folder, its photos are im0 and im1")
    path = root / "calib.txt"
    calib = dict(line.split("=", 1) for line in read_text(path).splitlines() if "=" in line)
    width, height, baseline = (_number(calib, key, path) for key in ("width", "height", "baseline"))
    frames = []
    for i in (0, 1):
        params = pinhole_params(_intrinsics(calib, f"cam{i}", path), f"{path}: cam{i}")
        photo = _photo(root, f"im{i}")
        if photo is None:
            raise InputError(f"{root}: im{i}.png is missing: a stereo folder has im0 and im1")
        camera = SourceCamera("PINHOLE", params, round(width), round(height))
        frames.append(SourceFrame(photo.name, {1: photo}, camera, _shifted(i * baseline / 1000)))
    return Source("middlebury-stereo", path, tuple(frames), units="metres")


def _shifted(x: float) -> Float[ndarray, "4 4"]:
    """World to a camera at (x, 0, 0)."""
    pose = np.eye(4)
    pose[0, 3] = -x
    return pose


def _photo(root: Path, stem: str) -> Path | None:
    return next((p for p in list_photos(root) if p.stem == stem), None)


def _number(calib: dict[str, str], key: str, path: Path) -> float:
    if key not in calib:
        raise InputError(f"{path}: expected a line {key}=<number>")
    return number(calib[key].strip(), f"{path}: {key}")


def _intrinsics(calib: dict[str, str], key: str, path: Path) -> Float[ndarray, "3 3"]:
    numbers = re.split(r"[\s;\[\]]+", calib.get(key, "").strip(" []"))
    try:
        values = [float(n) for n in numbers]
    except ValueError:
        values = []
    if len(values) != 9:
        raise InputError(f"{path}: expected a line {key}=[f 0 cx; 0 f cy; 0 0 1]")
    return np.array(values).reshape(3, 3)
