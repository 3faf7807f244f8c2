"""LLFF: poses_bounds.npy beside images, images_4, images_8 ..."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from gs_reg.errors import InputError

from ..arrays import read_array
from ..photos.images import list_photos
from .folders import images_folder, photo_folders
from .types import Source, SourceCamera, SourceFrame

NEAREST = 0.75
"""The nearest depth of all photos becomes 1 / 0.75 world units."""
SMALLEST = 1e-12
"""Of near depths; the largest is 1 / SMALLEST."""


def read(root: Path, images: Path | None) -> Source:
    """N rows of a 3x5 camera-to-world (axes down, right, back; last column height, width, focal), near and far.

    Rows belong to the photos in sorted order; the principal point is the centre.

    Raises:
        InputError: a table of another shape, or another number of photos than rows.
    """
    table = root / "poses_bounds.npy"
    rows = read_table(table)
    folders = photo_folders(images_folder(root, images, (root / "images",)))
    photos = {factor: list_photos(folder) for factor, folder in folders.items()}
    for factor, files in photos.items():
        if len(files) != len(rows):
            raise InputError(
                f"{folders[factor]}: {len(files)} photos, but {table} has {len(rows)} rows: they must be the same "
                "photos, as rows belong to photos in sorted order"
            )
    frames = []
    for i, row in enumerate(rows):
        height, width, focal = (float(x) for x in row[:15].reshape(3, 5)[:, 4])
        name = photos[min(photos)][i].name
        if not (np.isfinite([height, width, focal]).all() and min(height, width, focal) > 0):
            raise InputError(
                f"{table}: row {i} ({name}): height, width, focal {height:g}, {width:g}, {focal:g}: expected > 0"
            )
        camera = SourceCamera("SIMPLE_PINHOLE", (focal, width / 2, height / 2), round(width), round(height))
        paths = {factor: files[i] for factor, files in photos.items()}
        frames.append(SourceFrame(name, paths, camera, camera_from_llff(row)))
    near = float(rows[:, 15].min())
    if not SMALLEST < near < 1 / SMALLEST:  # float32 holds the squares of no others
        raise InputError(f"{table}: smallest near depth {near:g}: expected a number > {SMALLEST:g}, < {1 / SMALLEST:g}")
    bits = 8 * read_array(table).dtype.itemsize
    return Source("llff", table, tuple(frames), bits=bits, world_scale=1 / (NEAREST * near))


def read_table(path: Path) -> Float[ndarray, "N 17"]:
    """The rows of poses_bounds.npy as float64.

    Raises:
        InputError: a broken file, or one of another shape.
    """
    rows = read_array(path)
    if rows.ndim != 2 or rows.shape[1] != 17 or rows.dtype.kind not in "fiu":
        raise InputError(f"{path}: expected numbers of shape [photos, 17], got {rows.dtype} {list(rows.shape)}")
    return rows.astype(np.float64)


def camera_from_llff(row: Float[ndarray, "_"]) -> Float[ndarray, "4 4"]:
    """World-to-camera matrix of a row, OpenCV axes.

    Right is LLFF's second column, down its first, forward the negative of its third.
    """
    llff = row[:15].reshape(3, 5)
    pose = np.eye(4)
    pose[:3] = np.stack([llff[:, 1], llff[:, 0], -llff[:, 2], llff[:, 3]], axis=1)
    if not np.isfinite(pose).all() or abs(np.linalg.det(pose)) < 1e-12:
        return pose * np.nan  # for the common check of poses
    return np.linalg.inv(pose)
