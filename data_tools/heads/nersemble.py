"""NeRSemble: version 2 and its benchmark edition (PID/sequences/SEQ), version 1 (camera_params/PID), our own captures.

Photos are videos cam_SERIAL.mp4, pictures in folders cam_SERIAL/, or pictures cam_SERIAL_FRAME; masks alike in
alpha_maps/. Intrinsics are for pictures whose corner is at 0, so that all of K scales with the size.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from gs_reg.errors import InputError, reading

from ..photos.images import SUFFIXES as PHOTO_SUFFIXES
from .assemble import FoundCamera, FoundSequence, ReadOptions, assembled, usual_held_out, wanted
from .colors import read_color_matrices
from .files import Picture
from .tracks import read_track
from .types import Capture
from .videos import SUFFIXES as VIDEO_SUFFIXES
from .videos import frame_count

PARAMS = "camera_params.json"
COLORS = "color_calibration.json"
WITHOUT_CAMERA = f"delete the camera from {PARAMS}"
BROKEN_OFF = "synth.json.part"
"""In a synthetic capture that is not finished."""
NO_TAKES = ("BACKGROUND",)
"""Folders beside the sequences that are none."""


@dataclass(frozen=True)
class Person:
    """Where the parts of one participant lie."""

    folder: Path
    params: Path
    colors: Path
    sequences: Path


def find(root: Path, participant: str | None = None) -> Person | None:
    """The participant of a folder: the folder itself, or one in it.

    Raises:
        InputError: several participants and no choice, not the one asked for, or a synthetic capture that was broken
            off.
    """
    people = {person.folder.name: person for person in _people(root)}
    if not people:
        return None
    if participant is None and len(people) > 1:
        raise InputError(f"{root}: {len(people)} participants: choose one of {', '.join(people)}")
    chosen = participant if participant is not None else next(iter(people))
    if chosen not in people:
        raise InputError(f"{root}: no participant {chosen!r}: it has {', '.join(people)}")
    folder = people[chosen].folder
    if (folder / BROKEN_OFF).is_file():
        remedy = "remove it, and run `gs-reg avatar synth` again"
        raise InputError(f"{folder}: it holds a capture that was broken off: {remedy}")
    return people[chosen]


def _people(root: Path) -> list[Person]:
    if (root / "calibration" / PARAMS).is_file():
        return [_version_2(root)]
    first = [_version_1(root, path) for path in sorted(root.glob(f"camera_params/*/{PARAMS}"))]
    return first or [_version_2(path.parents[1]) for path in sorted(root.glob(f"*/calibration/{PARAMS}"))]


def _version_1(root: Path, params: Path) -> Person:
    folder = root / params.parent.name
    return Person(folder, params, folder / "calibration" / COLORS, folder)


def _version_2(folder: Path) -> Person:
    calibration = folder / "calibration"
    return Person(folder, calibration / PARAMS, calibration / COLORS, folder / "sequences")


def read(root: Path, options: ReadOptions) -> Capture:
    """
    Raises:
        InputError: what is missing, or does not fit together.
    """
    person = find(root, options.participant)
    if person is None:
        raise InputError(f"{root}: no calibration/{PARAMS} and no camera_params/PID/{PARAMS}")
    cameras = read_cameras(person.params)
    chosen = wanted([camera.name for camera in cameras], options.cameras, "camera", person.params)
    cameras = [camera for camera in cameras if camera.name in chosen]
    takes = sorted(p.name for p in person.sequences.glob("*") if (p / "images").is_dir() and p.name not in NO_TAKES)
    takes = wanted(takes, options.sequences, "sequence", person.sequences)
    sequences = [_sequence(person.sequences / take, chosen) for take in takes]
    colors = read_color_matrices(person.colors, chosen) if options.color else {}
    notes = ["version 1's own colour correction is not applied"] if not person.colors.parent.is_dir() else []
    return assembled(person.folder, cameras, sequences, options, usual_held_out(takes), colors, notes)


def read_cameras(path: Path) -> list[FoundCamera]:
    """World-to-camera matrices by serial; one K for all, or one a camera.

    Raises:
        InputError: broken, or a camera without one of the two.
    """
    with reading(path):
        content = json.loads(path.read_text())
        poses = content["world_2_cam"]
        intrinsics = content["intrinsics"]
        if not isinstance(poses, dict) or not isinstance(intrinsics, dict | list):
            raise InputError(f"{path}: expected world_2_cam {{serial: 4x4}} and intrinsics, a 3x3 or {{serial: 3x3}}")
        serials = sorted(poses)
    cameras = []
    for serial in serials:
        if isinstance(intrinsics, dict) and serial not in intrinsics:
            raise InputError(f"{path}: no intrinsics of camera {serial}: expected one 3x3 for all or for each")
        K = intrinsics[serial] if isinstance(intrinsics, dict) else intrinsics
        place = f"{path}: {serial}"
        pose = _matrix(poses[serial], 4, place)
        cameras.append(FoundCamera(serial, pose, _matrix(K, 3, place), place))
    if not cameras:
        raise InputError(f"{path}: no camera in world_2_cam")
    return cameras


def _matrix(value: object, side: int, place: str) -> Float[ndarray, "n n"]:
    try:
        matrix = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if side == 4 and matrix.shape == (3, 4):
        matrix = np.vstack([matrix, [0.0, 0.0, 0.0, 1.0]])
    if matrix.shape != (side, side):
        raise InputError(f"{place}: expected a {side}x{side} matrix of numbers, got {value!r:.60}")
    return matrix


def _sequence(folder: Path, cameras: list[str]) -> FoundSequence:
    photos = [pictures_of(folder / "images", camera) for camera in cameras]
    if not (folder / "alpha_maps").is_dir():
        raise InputError(f"{folder}: no alpha_maps: masks of the person are needed: add them as images/ are")
    masks = [pictures_of(folder / "alpha_maps", camera) for camera in cameras]
    track = read_track(folder)
    return FoundSequence(folder.name, folder, photos, masks, track, WITHOUT_CAMERA, "move the folder away")


def pictures_of(folder: Path, camera: str) -> Mapping[int, Picture]:
    """Those of one camera by number of frame."""
    for suffix in VIDEO_SUFFIXES:
        video = folder / f"cam_{camera}{suffix}"
        if video.is_file():
            return {number: Picture(video, number) for number in range(frame_count(video))}
    inside = folder / f"cam_{camera}"
    form = re.compile(r"\D*(\d+)\.\w+" if inside.is_dir() else rf"cam_{re.escape(camera)}_\D*(\d+)\.\w+")
    found = {}
    for path in sorted((inside if inside.is_dir() else folder).iterdir()):
        match = form.fullmatch(path.name)
        if match and path.suffix.lower() in PHOTO_SUFFIXES:
            found[int(match[1])] = Picture(path)
    if not found:
        raise InputError(
            f"{folder}: nothing of camera {camera}: expected cam_{camera}.mp4, pictures in cam_{camera}/ or "
            f"cam_{camera}_FRAME.jpg; or {WITHOUT_CAMERA}"
        )
    return found
