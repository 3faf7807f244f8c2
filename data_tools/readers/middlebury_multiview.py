"""Middlebury multi-view stereo sets (temple, dino): NAME_par.txt with K, R and t of every photo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from gs_reg.errors import InputError

from ..photos.images import read_header
from .folders import find_photo, images_folder, listed_name, photo_folders
from .parsing import pinhole_params, read_text
from .types import Source, SourceCamera, SourceFrame


def find(root: Path) -> Path | None:
    """The *_par.txt of a folder."""
    return next(iter(sorted(root.glob("[!.]*_par.txt"))), None)


def read(root: Path, images: Path | None) -> Source:
    """After a line with the number of photos, one line a photo: name, then K, R and t row by row; K [R t] projects.

    Raises:
        InputError: a line of another length, or words where numbers belong.
    """
    table = find(root)
    if table is None:
        raise InputError(f"{root}: no *_par.txt")
    folder = images_folder(root, images, (root / "images", root))
    folders = photo_folders(folder)
    frames, skipped = [], []
    for number, line in enumerate(read_text(table).splitlines(), start=1):
        words = line.strip().rsplit(None, 21)  # names may have spaces
        if len(words) <= 1:
            continue
        name = listed_name(words[0], f"{table}: line {number}", anywhere=images is not None)
        values = _numbers(words[1:], f"{table}: line {number}")
        paths = find_photo(folders, name, anywhere=images is not None)
        if not paths:
            skipped.append((name, f"{table.name} lists it, but the photo is missing in {folder}"))
            continue
        K, pose = values[:9].reshape(3, 3), np.eye(4)
        pose[:3, :3], pose[:3, 3] = values[9:18].reshape(3, 3), values[18:]
        width, height = (side * min(paths) for side in read_header(next(iter(paths.values()))).size(upright=False))
        params = pinhole_params(K, f"{table}: line {number}")
        frames.append(SourceFrame(name, paths, SourceCamera("PINHOLE", params, width, height), pose))
    return Source("middlebury-multiview", table, tuple(frames), tuple(skipped))


def _numbers(words: list[str], place: str) -> Float[ndarray, "21"]:
    try:
        values = np.array([float(word) for word in words])
    except ValueError as error:
        raise InputError(f"{place}: {error}") from None
    if len(values) != 21:
        raise InputError(f"{place}: expected a name and 21 numbers (K, R, t), got {len(values)}")
    return values
