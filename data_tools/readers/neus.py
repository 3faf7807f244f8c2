"""NeuS and IDR: photos in image/, masks in mask/, cameras_sphere.npz or cameras.npz with projections world_mat_N."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from gs_reg.errors import InputError

from ..arrays import read_arrays
from ..photos.images import list_photos, read_header
from ..photos.mask_files import NAMES as MASKS
from .folders import images_folder, photo_folders
from .parsing import pinhole_params
from .types import Source, SourceCamera, SourceFrame

TABLES = ("cameras_sphere.npz", "cameras.npz")
SKEW = 0.1
"""Pixels of skew, at the picture's far side, that float32 projections leave."""


def find(root: Path) -> Path | None:
    """The table of cameras of a folder."""
    return next((root / name for name in TABLES if (root / name).is_file()), None)


def read(root: Path, images: Path | None) -> Source:
    """world_mat_N [4, 4] (or [3, 4]) projects the source's world to pixels of photo N, counted in sorted order.

    Where there are other numbers of photos and matrices, N is the number in the photo's name. scale_mat_N, which maps
    a unit sphere around the object into the world, is not needed. Masks pair with photos in the same way.

    Raises:
        InputError: no table, photos without a matrix, or a matrix that is no projection.
    """
    table = find(root)
    if table is None:
        raise InputError(f"{root}: no {' or '.join(TABLES)}")
    matrices = _matrices(table)
    folders = photo_folders(images_folder(root, images, tuple(root / name for name in ("image", "images", "rgb"))))
    photos = {factor: list_photos(folder) for factor, folder in folders.items()}
    first = min(photos)
    numbers = _numbers(photos[first], matrices, table)
    masks = _masks(root, photos[first])
    frames, skipped = [], []
    for i, (photo, number) in enumerate(zip(photos[first], numbers, strict=True)):
        if number is None:
            skipped.append((photo.name, f"{table.name} has no matrix of its number"))
            continue
        place = f"{table}: world_mat_{number} ({photo.name})"
        K, pose = _decomposed(matrices[number], place)
        width, height = (side * first for side in read_header(photo).size(upright=False))
        camera = SourceCamera("PINHOLE", pinhole_params(K, place), width, height)
        paths = {n: files[i] for n, files in photos.items() if len(files) == len(photos[first])}
        frames.append(SourceFrame(photo.name, paths, camera, pose, masks[i]))
    bits = 8 * max(matrix.dtype.itemsize for matrix in matrices.values())
    return Source("neus", table, tuple(frames), tuple(skipped), bits=bits)


def _matrices(table: Path) -> dict[int, Float[ndarray, "3 4"]]:
    found = {}
    for key, value in read_arrays(table, "world_mat_").items():
        number = key.removeprefix("world_mat_")
        if not number.isdigit():
            continue
        if value.shape not in ((4, 4), (3, 4)) or value.dtype.kind not in "fiu":
            raise InputError(f"{table}: {key}: expected numbers [4, 4], got {list(value.shape)} {value.dtype}")
        found[int(number)] = value[:3]
    if not found:
        raise InputError(f"{table}: no world_mat_0, world_mat_1 ...: expected a projection for every photo")
    return found


def _numbers(photos: Sequence[Path], matrices: dict[int, ndarray], table: Path) -> Sequence[int | None]:
    """The matrix of each photo; None = it has none."""
    if len(photos) == len(matrices):
        return sorted(matrices)
    named = [int(photo.stem) if photo.stem.isdigit() else -1 for photo in photos]
    if -1 in named:
        raise InputError(
            f"{table}: {len(matrices)} matrices for {len(photos)} photos whose names are no numbers: which is whose?"
        )
    return [number if number in matrices else None for number in named]


def _masks(root: Path, photos: Sequence[Path]) -> list[Path | None]:
    """In sorted order, else by the number in the name."""
    files = next((found for name in MASKS if (found := list_photos(root / name))), ())
    if len(files) == len(photos):
        return list(files)
    by_number = {int(file.stem): file for file in files if file.stem.isdigit()}
    return [by_number.get(int(photo.stem)) if photo.stem.isdigit() else None for photo in photos]


def _decomposed(P: Float[ndarray, "3 4"], place: str) -> tuple[Float[ndarray, "3 3"], Float[ndarray, "4 4"]]:
    """K and world-to-camera of P = s K [R t] (RQ decomposition; Hartley and Zisserman 2004, 6.2.4)."""
    from scipy.linalg import rq

    P = P.astype(np.float64)
    size = np.abs(P[:, :3]).max()
    if not np.isfinite(P).all() or not size > 0 or abs(np.linalg.det(P[:, :3] / size)) < 1e-15:
        raise InputError(f"{place}: {P.tolist()!s:.80} is no projection")
    P = P / size * np.sign(np.linalg.det(P[:, :3] / size))
    K, R = rq(P[:, :3])
    signs = np.sign(np.diag(K))
    K, R = K * signs, signs[:, None] * R
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = R, np.linalg.solve(K, P[:, 3])
    K = np.triu(K / K[2, 2])
    if abs(K[0, 1]) * max(1.0, 2 * K[1, 2] / K[1, 1]) < SKEW:
        K[0, 1] = 0.0
    return K, pose
