"""COLMAP models, text and binary, old (three files) and new (with rigs and frames); read by pycolmap."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from gs_reg.errors import InputError

from ..photos.images import list_photos
from .colmap_binaries import check_binaries
from .folders import find_photo, images_folder, listed_name, photo_folders
from .parsing import first_line, read_text
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
    model, reconstruction = _reconstruction(root)
    parents = (root, *(model.parents if root in model.parents else ()), root.parent, root.parent.parent)
    defaults = tuple(dict.fromkeys([*(p / "images" for p in parents), root]))
    return from_reconstruction(reconstruction, model, images_folder(root, images, defaults), images is not None)


def read_cameras(root: Path) -> dict[str, tuple[SourceCamera, Float[ndarray, "4 4"]]]:
    """Cameras and world-to-camera matrices of the registered images of the model below root, without any photo.

    Raises:
        InputError: no model, or a broken one.
    """
    _, reconstruction = _reconstruction(root)
    found = {}
    for image in reconstruction.images.values():
        if image.has_pose:
            camera, pose = reconstruction.cameras[image.camera_id], np.eye(4)
            pose[:3] = image.cam_from_world().matrix()
            params = tuple(float(x) for x in camera.params)
            found[image.name] = SourceCamera(camera.model.name, params, camera.width, camera.height), pose
    return found


def _reconstruction(root: Path) -> tuple[Path, Reconstruction]:
    """The model below root and its folder.

    Raises:
        InputError: none, or a broken one.
    """
    model = find_model(root)
    if model is None:
        raise InputError(f"{root}: no COLMAP model: looked for cameras and images, .bin or .txt, here and in sparse/")
    check_binaries(model)
    try:
        reconstruction = _load(model)
        for image in reconstruction.images.values():
            image.name  # noqa: B018 - decoded here, so that bytes that are no text are found out
    except (ValueError, IndexError, KeyError, RuntimeError, MemoryError) as error:
        raise InputError(f"{model}: broken COLMAP model ({first_line(error)}): copy or export it again") from None
    _whole_names(reconstruction, model)
    return model, reconstruction


def _load(model: Path) -> Reconstruction:
    """By pycolmap, which wants a points3D file: an empty one stands in where there is none."""
    import pycolmap

    file = _images_file(model)
    assert file is not None
    if (model / f"points3D{file.suffix}").is_file():
        return pycolmap.Reconstruction(model)
    with tempfile.TemporaryDirectory() as work:
        for other in model.glob(f"*{file.suffix}"):
            (Path(work) / other.name).symlink_to(other.absolute())
        (Path(work) / f"points3D{file.suffix}").write_bytes(bytes(8) if file.suffix == ".bin" else b"")
        return pycolmap.Reconstruction(work)


def _whole_names(reconstruction: Reconstruction, model: Path) -> None:
    """Names with spaces, which pycolmap cuts: in images.txt all that follows the ninth field is the name."""
    file = _images_file(model)
    if file is None or file.suffix != ".txt":
        return
    lines = iter(read_text(file).splitlines())
    for line in lines:
        words = line.strip().split(None, 9)
        if not words or words[0].startswith("#"):
            continue
        if len(words) == 10 and words[0].isdigit() and int(words[0]) in reconstruction.images:
            reconstruction.images[int(words[0])].name = words[9]
        next(lines, None)  # the features of this image


def from_reconstruction(
    reconstruction: Reconstruction, described_in: Path, images: Path, anywhere: bool = False
) -> Source:
    """Registered images with their cameras, and the sparse points; `anywhere` as in `find_photo`."""
    folders = photo_folders(images)
    frames, skipped = [], []
    for image in sorted(reconstruction.images.values(), key=lambda image: image.name):
        name = listed_name(image.name, str(described_in), anywhere)
        paths = find_photo(folders, name, anywhere)
        if not image.has_pose:
            skipped.append((name, "not registered by COLMAP"))
        elif not paths:
            skipped.append((name, f"the file is missing in {images}"))
        else:
            camera = reconstruction.cameras[image.camera_id]
            pose = np.eye(4)
            pose[:3] = image.cam_from_world().matrix()
            params = tuple(float(x) for x in camera.params)
            source = SourceCamera(camera.model.name, params, camera.width, camera.height)
            frames.append(SourceFrame(name, paths, source, pose, upright=None))
    known = {PureWindowsPath(image.name).stem for image in reconstruction.images.values()}
    for path in list_photos(images):
        if path.stem not in known:
            skipped.append((path.name, "not registered by COLMAP"))
    points = np.array([point.xyz for point in reconstruction.points3D.values()], dtype=np.float64).reshape(-1, 3)
    # without an inverse: poses are checked later, and some have none
    centers = np.array([-p[:3, :3].T @ p[:3, 3] for p in (f.camera_from_source for f in frames)]).reshape(-1, 3)
    points = _without_stray(points, centers) if len(points) and len(centers) else None
    tracks = partial(_tracks, reconstruction, described_in, anywhere)
    return Source("colmap", described_in, tuple(frames), tuple(sorted(skipped)), points, tracks=tracks)


def _tracks(reconstruction: Reconstruction, described_in: Path, anywhere: bool) -> dict[str, Int[ndarray, "_"]]:
    """The numbers of the points that each image sees, by its name; nothing where the model has no tracks."""
    seen = {
        listed_name(image.name, str(described_in), anywhere): np.array(
            [point.point3D_id for point in image.get_observation_points2D()], dtype=np.int64
        )
        for image in reconstruction.images.values()
    }
    return seen if any(len(ids) for ids in seen.values()) else {}


def _without_stray(points: Float[ndarray, "P 3"], centers: Float[ndarray, "C 3"]) -> Float[ndarray, "Q 3"]:
    """Points that are not in a camera; those that are not finite stay, for the common check of points."""
    with np.errstate(over="ignore", invalid="ignore"):  # over-large ones are for the common checks too
        size = float(np.linalg.norm(centers - centers.mean(0), axis=1).max())
    keep = np.ones(len(points), dtype=bool)
    for center in centers:
        with np.errstate(over="ignore", invalid="ignore"):
            keep &= ~(np.linalg.norm(points - center, axis=1) <= TOO_NEAR * size)
    return points[keep]


def _subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != ".") if folder.is_dir() else []


def _images_file(folder: Path) -> Path | None:
    for suffix in (".bin", ".txt"):
        if (folder / f"cameras{suffix}").is_file() and (folder / f"images{suffix}").is_file():
            return folder / f"images{suffix}"
    return None
