"""COLMAP models, text and binary, old (three files) and new (with rigs and frames); read by pycolmap."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from gs_reg.errors import InputError

from ..photos.images import list_photos
from .colmap_binaries import check_binaries
from .folders import find_photo, images_folder, photo_folders
from .parsing import first_line
from .types import Source, SourceCamera, SourceFrame

if TYPE_CHECKING:
    from pycolmap import Reconstruction
else:
    Reconstruction = object  # pycolmap is imported where a model is read: without that, importing this module is quick

TOO_NEAR = 1e-3
"""Points nearer to a camera than this share of the scene's size are dropped: nobody could have triangulated them."""


def find_model(root: Path) -> Path | None:
    """The folder of the model: root itself, a `sparse` folder or its largest numbered one, or any subfolder."""
    groups = [
        [root],
        [root / "sparse", *_subfolders(root / "sparse")],
        [root / "colmap" / "sparse", *_subfolders(root / "colmap" / "sparse")],
        _subfolders(root),
    ]
    for group in groups:
        models = {folder: file for folder in group if (file := _images_file(folder)) is not None}
        if models:
            return max(models, key=lambda folder: models[folder].stat().st_size)
    return None


def read(root: Path, images: Path | None) -> Source:
    """The model below root with the photos beside it; photos are matched by name, never by id.

    Raises:
        InputError: a broken model, or no photos.
    """
    import pycolmap

    model = find_model(root)
    if model is None:
        raise InputError(f"{root}: no COLMAP model: looked for cameras and images, .bin or .txt, here and in sparse/")
    check_binaries(model)
    try:
        reconstruction = pycolmap.Reconstruction(model)
    except (ValueError, IndexError, KeyError, RuntimeError, MemoryError) as error:
        raise InputError(f"{model}: broken COLMAP model ({first_line(error)}): copy or export it again") from None
    parents = (root, *(model.parents if root in model.parents else ()), root.parent, root.parent.parent)
    defaults = tuple(dict.fromkeys([*(p / "images" for p in parents), root]))
    return from_reconstruction(reconstruction, model, images_folder(root, images, defaults))


def from_reconstruction(reconstruction: Reconstruction, described_in: Path, images: Path) -> Source:
    """Registered images with their cameras, and the sparse points."""
    folders = photo_folders(images)
    frames, skipped = [], []
    for image in sorted(reconstruction.images.values(), key=lambda image: image.name):
        paths = find_photo(folders, image.name)
        if not image.has_pose:
            skipped.append((image.name, "not registered by COLMAP"))
        elif not paths:
            skipped.append((image.name, f"the file is missing in {images}"))
        else:
            camera = reconstruction.cameras[image.camera_id]
            pose = np.eye(4)
            pose[:3] = image.cam_from_world().matrix()
            params = tuple(float(x) for x in camera.params)
            source = SourceCamera(camera.model.name, params, camera.width, camera.height)
            frames.append(SourceFrame(image.name, paths, source, pose, upright=None))
    known = {Path(image.name).stem for image in reconstruction.images.values()}
    for path in list_photos(images):
        if path.stem not in known:
            skipped.append((path.name, "not registered by COLMAP"))
    points = np.array([point.xyz for point in reconstruction.points3D.values()], dtype=np.float64).reshape(-1, 3)
    centers = np.array([np.linalg.inv(f.camera_from_source)[:3, 3] for f in frames]).reshape(-1, 3)
    points = _without_stray(points, centers) if len(points) and len(centers) else None
    return Source("colmap", described_in, tuple(frames), tuple(sorted(skipped)), points)


def _without_stray(points: Float[ndarray, "P 3"], centers: Float[ndarray, "C 3"]) -> Float[ndarray, "Q 3"]:
    """Points that are finite and not in a camera."""
    points = points[np.isfinite(points).all(1)]
    size = float(np.linalg.norm(centers - centers.mean(0), axis=1).max())
    keep = np.ones(len(points), dtype=bool)
    for center in centers:
        keep &= np.linalg.norm(points - center, axis=1) > TOO_NEAR * size
    return points[keep]


def _subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != ".") if folder.is_dir() else []


def _images_file(folder: Path) -> Path | None:
    for suffix in (".bin", ".txt"):
        if (folder / f"cameras{suffix}").is_file() and (folder / f"images{suffix}").is_file():
            return folder / f"images{suffix}"
    return None
