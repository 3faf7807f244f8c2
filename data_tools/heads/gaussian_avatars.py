"""GaussianAvatars and VHAP: transforms_{train,val,test}.json with FLAME parameters of each timestep; union sets too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from gs_reg.errors import InputError, reading
from gs_reg.priors.types import ExpressionPrior

from ..arrays import read_arrays
from ..readers.parsing import number
from .assemble import FoundCamera, FoundSequence, ReadOptions, assembled, wanted
from .files import Picture
from .flame_pose import outside
from .tracks import SequenceTrack
from .types import Capture

PARTS = ("train", "val", "test")
PRIOR = "flame2023"
"""What current VHAP tracks with; the folders do not say it."""
CODE = (("expr", 100), ("jaw_pose", 3), ("eyes_pose", 6), ("neck_pose", 3))
WITHOUT = "delete its frames from transforms_train.json, transforms_val.json and transforms_test.json"
Entry = Mapping[str, object]


@dataclass(frozen=True)
class Shot:
    """One photo that a transforms file lists."""

    part: str
    sequence: Path
    """The folder that its images/ lies in."""
    timestep: int
    camera: str
    photo: Path
    mask: Path
    flame: Path
    pose: FoundCamera


def find(root: Path) -> bool:
    """Whether the transforms of a folder are those of an avatar."""
    path = root / "transforms_train.json"
    if not path.is_file():
        return False
    head, frames = _load(path)
    return bool(frames) and "flame_param_path" in {**head, **frames[0]}


def read(root: Path, options: ReadOptions, prior: ExpressionPrior | None) -> Capture:
    """Full intrinsics, masks and codes. Held out: the sequences of the test file, and the cameras of val alone.

    Raises:
        InputError: what is missing, or does not fit together; also without a FLAME prior, as its joint turns the head.
    """
    shots = [shot for part in PARTS for shot in _shots(root / f"transforms_{part}.json", part)]
    cameras: dict[str, FoundCamera] = {}
    for shot in shots:
        known = cameras.setdefault(shot.camera, shot.pose)
        if not np.allclose(known.camera_from_world, shot.pose.camera_from_world, atol=1e-4):
            raise InputError(f"{shot.pose.place}: camera {shot.camera} moves: expected the pose of {known.place}")
    names = wanted(sorted(cameras), options.cameras, "camera", root)
    takes: dict[str, list[Shot]] = {}
    for shot in shots:
        takes.setdefault(_take(shot, shots), []).append(shot)
    chosen = wanted(sorted(takes), options.sequences, "sequence", root)
    sequences = [_sequence(take, takes[take], names, prior) for take in chosen]
    tested = [take for take in chosen if any(shot.part == "test" for shot in takes[take])]
    trained = {shot.camera for shot in shots if shot.part == "train"}
    held_out = tested, [name for name in names if name not in trained]
    notes = [] if options.held_out_sequences or tested else ["no transforms_test.json: no sequence is held out"]
    if shots and "static_offset" in read_arrays(shots[0].flame):
        notes.append("VHAP's static_offset, the person's own shape beside FLAME's, is not applied: Gaussians learn it")
    return assembled(root, [cameras[name] for name in names], sequences, options, held_out, notes=notes)


def _take(shot: Shot, shots: list[Shot]) -> str:
    """Its sequence; a single folder that holds out some of its timesteps becomes two."""
    same = {other.part == "test" for other in shots if other.sequence == shot.sequence}
    name = shot.sequence.name
    return name if len(same) == 1 else f"{name}-{'test' if shot.part == 'test' else 'train'}"


def _shots(path: Path, part: str) -> list[Shot]:
    if not path.is_file():
        return []
    head, frames = _load(path)
    shots = []
    for i, frame in enumerate(frames):
        entry, place = {**head, **frame}, f"{path}: frame {i}"
        missing = [k for k in ("file_path", "timestep_index", "transform_matrix", "flame_param_path") if k not in entry]
        if missing:
            raise InputError(f"{place}: {missing[0]} is missing")
        photo = path.parent / str(entry["file_path"])
        if not entry.get("fg_mask_path"):
            raise InputError(f"{place}: no fg_mask_path: masks of the person are needed: export them with the photos")
        camera = str(entry.get("camera_id", entry.get("camera_index", "")))
        shots.append(
            Shot(
                part,
                photo.parent.parent.resolve(),
                int(number(entry["timestep_index"], f"{place}: timestep_index")),
                camera,
                photo,
                path.parent / str(entry["fg_mask_path"]),
                path.parent / str(entry["flame_param_path"]),
                _camera(entry, camera, place),
            )
        )
    return shots


def _load(path: Path) -> tuple[Entry, list[Entry]]:
    with reading(path):
        head = json.loads(path.read_text())
        frames = head.pop("frames")
        if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
            raise InputError(f"{path}: expected a list `frames` of maps")
    return head, frames


def _camera(entry: Entry, name: str, place: str) -> FoundCamera:
    """The whole K; the fields of view, which know no principal point, are not used."""
    fx, fy, cx, cy = (number(entry.get(key), f"{place}: {key}") for key in ("fl_x", "fl_y", "cx", "cy"))
    try:
        pose = np.array(entry["transform_matrix"], dtype=np.float64)
    except (TypeError, ValueError):
        pose = np.empty(0)
    if pose.shape != (4, 4) or not np.isfinite(pose).all() or abs(np.linalg.det(pose)) < 1e-9:
        raise InputError(f"{place}: transform_matrix: expected a 4x4 camera-to-world pose")
    pose[:3, 1:3] *= -1  # from OpenGL's axes, y up and z back
    return FoundCamera(name, np.linalg.inv(pose), np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]), place)


def _sequence(name: str, shots: list[Shot], cameras: list[str], prior: ExpressionPrior | None) -> FoundSequence:
    photos: list[dict[int, Picture]] = [{} for _ in cameras]
    masks: list[dict[int, Picture]] = [{} for _ in cameras]
    flames: dict[int, Path] = {}
    for shot in shots:
        flames[shot.timestep] = shot.flame
        if shot.camera in cameras:
            row = cameras.index(shot.camera)
            photos[row][shot.timestep] = Picture(shot.photo)
            masks[row][shot.timestep] = Picture(shot.mask)
    track = _track(dict(sorted(flames.items())), prior)
    return FoundSequence(name, shots[0].sequence, photos, masks, track, WITHOUT, WITHOUT)


def _track(flames: Mapping[int, Path], prior: ExpressionPrior | None) -> SequenceTrack:
    codes, rotations, translations, shapes = [], [], [], []
    for path in flames.values():
        arrays = read_arrays(path)
        codes.append(np.concatenate([_numbers(arrays, path, key, size) for key, size in CODE]))
        rotations.append(_numbers(arrays, path, "rotation", 3))
        translations.append(_numbers(arrays, path, "translation", 3))
        shapes.append(_numbers(arrays, path, "shape", 300))
    first = next(iter(flames.values()))
    if np.ptp(np.stack(shapes), axis=0).max() > 1e-3:
        raise InputError(f"{first.parent}: shape changes between timesteps: expected one person")
    ident = shapes[0].astype(np.float32)
    stacked, turns, moves = np.stack(codes).astype(np.float32), np.stack(rotations), np.stack(translations)
    rotation, translation = outside(turns, moves, stacked, prior, torch.from_numpy(ident), first)
    scale = np.ones(len(codes))
    return SequenceTrack(first.parent, PRIOR, stacked, rotation, translation, scale, ident, None, tuple(flames))


def _numbers(arrays: Mapping[str, ndarray], path: Path, key: str, size: int) -> Float[ndarray, "n"]:
    if key not in arrays:
        raise InputError(f"{path}: {key} is missing: expected {size} numbers")
    values = arrays[key].reshape(-1)
    if len(values) != size or values.dtype.kind not in "fiu":
        raise InputError(f"{path}: {key}: {len(values)} numbers: expected {size}, as FLAME 2023 has")
    if not np.isfinite(values).all():
        raise InputError(f"{path}: {key} is not finite: track this timestep again")
    return values.astype(np.float64)
