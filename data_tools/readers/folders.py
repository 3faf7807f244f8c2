"""Where the photos of a source lie: `images` and its smaller copies `images_2`, `images_4` ..."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

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


def listed_name(listed: str, place: str, anywhere: bool) -> str:
    """A photo's name in a data file as a path below the folder of photos, with forward slashes.

    With `anywhere`, when the user has named that folder, what leads out of it is cut off: a drive, the root, `..`.

    Raises:
        InputError: no name, or one that leads out.
    """
    name = posixpath.normpath(listed.replace("\\", "/"))
    inner = re.sub(r"^([A-Za-z]:)?/*(\.\./|\.\.$)*", "", name)
    if inner in ("", ".") or "\0" in inner:
        raise InputError(f"{place}: expected a file's name, got {listed!r:.80}")
    if inner != name and not anywhere:
        raise InputError(
            f"{place}: {listed:.160} is outside the data folder, or a path of another computer: name the folder of the "
            "photos (--images)"
        )
    return inner


def find_photo(folders: Mapping[int, Path], name: str, anywhere: bool = False) -> dict[int, Path]:
    """The photo in every folder that has it, under this name or with another suffix.

    With `anywhere` the name may begin with folders that are not there, as other computers have them.
    """
    parts = PurePosixPath(name).parts
    for first in range(len(parts) if anywhere else 1):
        found = {}
        for factor, folder in folders.items():
            path = _in_folder(folder, str(PurePosixPath(*parts[first:])))
            if path is not None:
                found[factor] = path
        if found:
            return found
    return {}


def _in_folder(folder: Path, name: str) -> Path | None:
    path = folder / name
    if path.is_file():
        return path
    stem = path.stem if path.suffix.lower() in SUFFIXES else path.name
    same = [p for p in list_photos(path.parent) if p.stem == stem]
    return same[0] if len(same) == 1 else None


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
