"""Where the photos of a source lie: `images` and its smaller copies `images_2`, `images_4` ..."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gs_reg.errors import InputError

from ..photos.images import SUFFIXES, list_photos


def photo_folders(images: Path) -> dict[int, Path]:
    """The folder (1) and its siblings `<name>_N` (N) that exist, by N."""
    found = {1: images} if images.is_dir() else {}
    if images.parent.is_dir():
        for sibling in sorted(images.parent.glob(f"{images.name}_*")):
            number = sibling.name[len(images.name) + 1 :]
            if number.isdigit() and int(number) > 1 and sibling.is_dir():
                found[int(number)] = sibling
    return dict(sorted(found.items()))


def find_photo(folders: Mapping[int, Path], name: str) -> dict[int, Path]:
    """The photo in every folder that has it, under this name or with another suffix."""
    found = {}
    for factor, folder in folders.items():
        path = folder / name
        if path.is_file():
            found[factor] = path
        elif path.parent.is_dir():
            stem = path.stem if path.suffix.lower() in SUFFIXES else path.name
            same = [p for p in list_photos(path.parent) if p.stem == stem]
            if len(same) == 1:
                found[factor] = same[0]
    return found


def images_folder(root: Path, override: Path | None, defaults: tuple[Path, ...]) -> Path:
    """The folder of photos that was asked for (below root, or anywhere), else the first default that exists.

    Raises:
        InputError: none exists.
    """
    if override is not None:
        for folder in (root / override, override):
            if folder.is_dir():
                return folder
        raise InputError(f"{root / override}: no such folder of photos (--images)")
    for folder in defaults:
        if photo_folders(folder):
            return folder
    raise InputError(
        f"{root}: no folder of photos: looked for {', '.join(map(str, defaults))} (--images names another)"
    )
