"""Strecha's benchmark: one text file NAME.camera a photo, with K, zeros, rotation, centre and size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from gs_reg.errors import InputError

from .folders import find_photo, images_folder, photo_folders
from .parsing import number, pinhole_params, read_text
from .types import Source, SourceCamera, SourceFrame


def find(root: Path) -> Path | None:
    """The folder with *.camera files: root, or one below it."""
    if not root.is_dir():
        return None
    for folder in (root, *sorted(p for p in root.iterdir() if p.is_dir() and p.name[0] != ".")):
        if any(folder.glob("[!.]*.camera")):
            return folder
    return None


def read(root: Path, images: Path | None) -> Source:
    """Rows 1 to 3 K, 4 zeros, 5 to 7 the camera-to-world rotation, 8 the centre (metres), 9 width and height."""
    cameras = find(root)
    if cameras is None:
        raise InputError(f"{root}: no *.camera files")
    folder = images_folder(root, images, (root / "images", cameras, root))
    folders = photo_folders(folder)
    frames, skipped = [], []
    for path in sorted(cameras.glob("[!.]*.camera")):
        name = path.name.removesuffix(".camera")
        paths = find_photo(folders, name)
        if paths:
            camera, pose = _parse(path)
            frames.append(SourceFrame(name, paths, camera, pose))
        else:
            skipped.append((name, f"{path.name} is there, but the photo is missing in {folder}"))
    return Source("strecha", cameras, tuple(frames), tuple(skipped), units="metres")


def _parse(path: Path) -> tuple[SourceCamera, Float[ndarray, "4 4"]]:
    words = read_text(path).split()
    if len(words) != 26:
        raise InputError(f"{path}: expected 26 numbers (K, zeros, rotation, centre, size), got {len(words)}")
    numbers = [number(word, str(path)) for word in words]
    K = np.array(numbers[:9]).reshape(3, 3)
    rotation, center = np.array(numbers[12:21]).reshape(3, 3), np.array(numbers[21:24])
    pose = np.eye(4)
    pose[:3, :3] = rotation.T
    pose[:3, 3] = -rotation.T @ center
    width, height = round(numbers[24]), round(numbers[25])
    return SourceCamera("PINHOLE", pinhole_params(K, str(path)), width, height), pose
