"""transforms.json of nerfstudio and instant-ngp; also Blender's transforms_train.json and transforms_test.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from gs_reg.errors import InputError

from ..photos.images import read_header
from .folders import find_photo, images_folder, listed_name, photo_folders
from .parsing import first_line, number
from .types import Source, SourceCamera, SourceFrame

PARTS = ("train", "val", "test")
OPENCV = ("k1", "k2", "p1", "p2")
FULL_OPENCV = (*OPENCV, "k3", "k4", "k5", "k6")
FISHEYE = ("k1", "k2", "k3", "k4")
Entry = Mapping[str, object]
"""The head of the file, or one of its frames, as JSON gives it."""


def find(root: Path) -> tuple[Path, ...]:
    """The JSON files of a folder: transforms.json, else Blender's three, else none."""
    if (root / "transforms.json").is_file():
        return (root / "transforms.json",)
    files = [root / f"transforms_{part}.json" for part in PARTS]
    return tuple(f for f in files if f.is_file()) if files[0].is_file() else ()


def read(root: Path, images: Path | None) -> Source:
    """Camera-to-world matrices with axes right, up, back; intrinsics in each frame, or in the head for all.

    `applied_transform` and `applied_scale` are undone, so the source's frame is the one before nerfstudio turned it.

    Raises:
        InputError: broken JSON, missing keys, or an unknown camera model.
    """
    files = find(root)
    if not files:
        raise InputError(f"{root}: no transforms.json")
    override = images_folder(root, images, ()) if images else None
    frames: list[SourceFrame] = []
    skipped: list[tuple[str, str]] = []
    splits: dict[str, list[str]] = {}
    for path in files:
        head, listed_frames = _load(path)
        named = _frames(head, listed_frames, path, override, skipped)
        frames += named.values()
        splits[path.stem.removeprefix("transforms_")] = [frame.name for frame in named.values()]
        for part in PARTS:
            if f"{part}_filenames" in head:
                listed = [
                    _normal(n, path, override) for n in _names(head[f"{part}_filenames"], f"{path}: {part}_filenames")
                ]
                splits[part] = [named[f].name for f in listed if f in named]
    split = None
    if "train" in splits:
        held_out = splits.get("test") or splits.get("val", [])
        trained = [name for name in splits["train"] if name not in held_out]
        split = (tuple(trained), tuple(held_out))
    return Source("transforms", files[0], tuple(frames), tuple(skipped), split=split)


def read_cameras(file: Path) -> dict[str, tuple[SourceCamera, Float[ndarray, "4 4"]]]:
    """Cameras and world-to-camera matrices by file_path, of one JSON file; the photos need not exist.

    Raises:
        InputError: broken JSON, missing keys, sizes among them, or an unknown camera model.
    """
    head, entries = _load(file)
    undo, found = _undo(head, file), {}
    for i, entry in enumerate(entries):
        place = f"{file}: frame {i}"
        if not isinstance(entry, dict):
            raise InputError(f"{place}: expected a map, got {entry!r:.40}")
        whole = {**head, **entry}
        for key in ("w", "h"):
            _need(whole, key, place)
        found[_slashes(_need(entry, "file_path", place), place)] = _camera(whole, {}, place), _pose(entry, undo, place)
    return found


def _frames(
    head: Entry, entries: list[object], path: Path, override: Path | None, skipped: list[tuple[str, str]]
) -> dict[str, SourceFrame]:
    """Frames of one file by their file_path; those without a photo go to `skipped`."""
    frames: dict[str, SourceFrame] = {}
    undo, folders = _undo(head, path), {}
    for i, entry in enumerate(entries):
        place = f"{path}: frame {i}"
        if not isinstance(entry, dict):
            raise InputError(f"{place}: expected a map, got {entry!r:.40}")
        listed = _normal(_need(entry, "file_path", place), path, override, place)
        if listed in frames:
            raise InputError(f"{path}: {listed} is listed twice: remove all but one")
        folder = override or (path.parent / listed).parent
        if folder not in folders:
            folders[folder] = photo_folders(folder)
        below = listed if override else PurePosixPath(listed).name
        paths = find_photo(folders[folder], below, anywhere=override is not None)
        if not paths:
            skipped.append((listed, f"{path.name} lists it, but the file is missing"))
            continue
        name = str(PurePosixPath(listed).with_name(next(iter(paths.values())).name))
        camera = _camera({**head, **entry}, paths, f"{path}: {listed}")
        mask = path.parent / _slashes(entry["mask_path"], f"{place}: mask_path") if entry.get("mask_path") else None
        frames[listed] = SourceFrame(name, paths, camera, _pose(entry, undo, place), mask, upright=None)
    return frames


def _names(value: object, place: str) -> list[object]:
    if not isinstance(value, list):
        raise InputError(f"{place}: expected a list of names, got {value!r:.40}")
    return value


def _normal(listed: object, path: Path, override: Path | None, place: str = "") -> str:
    """A photo's name below the file's folder; absolute names may lie there too."""
    name = _slashes(listed, place or str(path))
    if name.startswith("/") and Path(name).is_relative_to(path.parent.absolute()):
        name = str(PurePosixPath(name).relative_to(path.parent.absolute()))
    return listed_name(name, place or str(path), anywhere=override is not None)


def _slashes(listed: object, place: str) -> str:
    """A file's name with forward slashes: Windows programs write the others."""
    if not isinstance(listed, str) or not listed:
        raise InputError(f"{place}: expected a file's name, got {listed!r:.40}")
    return str(PurePosixPath(listed.replace("\\", "/")))


def _load(path: Path) -> tuple[Entry, list[object]]:
    """The whole map, and its list `frames`."""
    try:
        head = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({first_line(error)})") from None
    if not isinstance(head, dict) or not isinstance(head.get("frames"), list):
        raise InputError(f"{path}: expected a map with a list `frames`")
    return head, head["frames"]


def _need(entry: Entry, key: str, place: str) -> object:
    if key not in entry:
        raise InputError(f"{place}: {key} is missing")
    return entry[key]


def _matrix(value: object, place: str) -> Float[ndarray, "4 4"]:
    try:
        rows = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        rows = np.empty(0)
    if rows.shape not in ((4, 4), (3, 4)):
        raise InputError(f"{place}: expected a 4x4 or 3x4 matrix of numbers, got {value!r:.80}")
    return np.vstack([rows[:3], [0.0, 0.0, 0.0, 1.0]])


def _undo(head: Entry, path: Path) -> Float[ndarray, "4 4"]:
    """From the file's frame back to the one before applied_transform and applied_scale."""
    turn = _matrix(head.get("applied_transform", np.eye(4).tolist()), f"{path}: applied_transform")
    scale = number(head.get("applied_scale", 1.0), f"{path}: applied_scale")
    if not np.isfinite(turn).all() or abs(np.linalg.det(turn)) < 1e-12 or not scale > 0:
        raise InputError(f"{path}: applied_transform or applied_scale cannot be undone")
    return np.linalg.inv(turn) @ np.diag([1 / scale, 1 / scale, 1 / scale, 1.0])


def _pose(entry: Entry, undo: Float[ndarray, "4 4"], place: str) -> Float[ndarray, "4 4"]:
    """World-to-camera matrix, OpenCV axes; NaN stays NaN, for the common check of poses."""
    given = _matrix(_need(entry, "transform_matrix", place), f"{place}: transform_matrix")
    if not np.isfinite(given).all():
        return np.full((4, 4), np.nan)
    pose = undo @ given
    pose[:3, :3] /= np.cbrt(abs(np.linalg.det(undo)))  # a scale moves the centre, but is none of the rotation's
    pose[:3, 1:3] *= -1  # from OpenGL's axes, y up and z back
    if abs(np.linalg.det(pose)) < 1e-12:
        raise InputError(f"{place}: transform_matrix has no rotation (its columns must be orthonormal)")
    return np.linalg.inv(pose)


def _camera(entry: Entry, paths: dict[int, Path], place: str) -> SourceCamera:
    """Intrinsics; the photo's own size stands in where w and h are not given."""

    def value(key: str, default: float) -> float:
        return number(entry.get(key, default), f"{place}: {key}")

    if "w" in entry and "h" in entry:
        width, height = round(value("w", 0)), round(value("h", 0))
    else:
        header = read_header(next(iter(paths.values())))
        width, height = (side * min(paths) for side in header.size(upright=False))
    if "fl_x" in entry:
        fx = value("fl_x", 0)
    elif "camera_angle_x" in entry:
        fx = _focal(width, value("camera_angle_x", 0), f"{place}: camera_angle_x")
    else:
        raise InputError(f"{place}: no focal length: expected fl_x or camera_angle_x")
    fy = value("fl_y", fx)
    if "fl_y" not in entry and "camera_angle_y" in entry:
        fy = _focal(height, value("camera_angle_y", 0), f"{place}: camera_angle_y")
    middle = value("cx", width / 2), value("cy", height / 2)
    model, keys = _model(entry, place)
    distortion = tuple(value(key, 0.0) for key in keys)
    return SourceCamera(model, (fx, fy, *middle, *distortion), width, height)


def _focal(side: int, angle: float, place: str) -> float:
    if not 0 < angle < math.pi:
        raise InputError(f"{place}: expected an angle in radians between 0 and pi, got {angle:g}")
    return side / 2 / math.tan(angle / 2)


def _model(entry: Entry, place: str) -> tuple[str, tuple[str, ...]]:
    """COLMAP's model and the keys of its distortion."""
    asked = entry.get("camera_model", "OPENCV_FISHEYE" if entry.get("is_fisheye") else "OPENCV")
    if asked in ("PINHOLE", "SIMPLE_PINHOLE"):
        return "PINHOLE", ()
    if asked == "OPENCV_FISHEYE":
        return "OPENCV_FISHEYE", FISHEYE
    if asked in ("OPENCV", "FULL_OPENCV", "SIMPLE_RADIAL", "RADIAL"):
        more = any(entry.get(key) for key in FULL_OPENCV[4:])
        return ("FULL_OPENCV", FULL_OPENCV) if more else ("OPENCV", OPENCV)
    raise InputError(f"{place}: camera_model {asked!r}: expected PINHOLE, OPENCV or OPENCV_FISHEYE")
