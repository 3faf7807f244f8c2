"""What a folder is, and its photos and cameras as the source has them. One file a format."""

from __future__ import annotations

from pathlib import Path

from gs_reg.errors import InputError

from ..photos.images import list_photos
from . import colmap, llff, middlebury_multiview, middlebury_stereo, neus, plain_photos, strecha, transforms_json
from .types import DatasetKind, Source

LOOKED_FOR = {
    "llff": "poses_bounds.npy",
    "transforms": "transforms.json",
    "neus": "cameras_sphere.npz or cameras.npz",
    "colmap": "cameras and images (.bin or .txt), here or in sparse/",
    "strecha": "*.camera",
    "middlebury-multiview": "*_par.txt",
    "middlebury-stereo": "calib.txt with im0 and im1",
    "photos": "photos, here or in images/",
}


def detect(path: str | Path) -> DatasetKind:
    """The kind of a folder, by the first of these that it has: see LOOKED_FOR.

    Raises:
        InputError: no such folder, or none of them.
    """
    root = Path(path)
    if str(path) == middlebury_stereo.MOTORCYCLE:
        return "middlebury-stereo"
    if root.is_file():
        raise InputError(f"{path}: a file: expected a folder of photos{_instead(root)}")
    if not root.is_dir():
        raise InputError(f"{path}: no such folder (or write {middlebury_stereo.MOTORCYCLE!r} for the built-in pair)")
    if (root / "poses_bounds.npy").is_file():
        return "llff"
    if transforms_json.find(root):
        return "transforms"
    if neus.find(root):
        return "neus"
    if colmap.find_model(root):
        return "colmap"
    if strecha.find(root):
        return "strecha"
    if middlebury_multiview.find(root):
        return "middlebury-multiview"
    if middlebury_stereo.find(root):
        return "middlebury-stereo"
    if list_photos(root) or list_photos(root / "images"):
        return "photos"
    raise InputError(f"{path}: no photos with cameras and no plain photos: looked for {'; '.join(LOOKED_FOR.values())}")


def _instead(file: Path) -> str:
    if file.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".7z"):
        return " (unpack the archive first)"
    return f", such as {file.parent}"


def read(path: str | Path, kind: DatasetKind, images: Path | None = None, cache_dir: Path | None = None) -> Source:
    """Reads a folder as one kind.

    Raises:
        InputError: what the reader of that kind says.
    """
    root = Path(path)
    if str(path) == middlebury_stereo.MOTORCYCLE:
        return middlebury_stereo.motorcycle_source()
    if kind == "photos":
        return plain_photos.read(root, images, cache_dir)
    readers = {
        "llff": llff.read,
        "transforms": transforms_json.read,
        "neus": neus.read,
        "colmap": colmap.read,
        "strecha": strecha.read,
        "middlebury-multiview": middlebury_multiview.read,
        "middlebury-stereo": middlebury_stereo.read,
    }
    return readers[kind](root, images)
