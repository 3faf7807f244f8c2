"""From what a reader finds to a capture: frames of all cameras matched with codes, cameras at the working size."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from gs_reg.errors import InputError
from gs_reg.types import Cameras

from ..checks import check_camera, check_pose
from ..readers.parsing import pinhole_params
from ..readers.types import SourceCamera
from .files import Picture, PictureFiles
from .pixels import BUDGET, CachedPixels
from .tracks import SequenceTrack, joined
from .types import HELD_OUT_CAMERAS, Capture, SequenceInfo
from .videos import Unpacked

HELD_OUT_SEQUENCE = "FREE"
MOST_LISTED = 5
"""Numbers of frames in a message."""


@dataclass(frozen=True)
class ReadOptions:
    """Which part of a capture is read, and how."""

    width: int | None = None
    """Of the working pixels; the height follows. None = as stored."""
    participant: str | None = None
    """Where a folder holds several."""
    sequences: tuple[str, ...] | None = None
    """None = all."""
    cameras: tuple[str, ...] | None = None
    """None = all."""
    every: int = 1
    """Of the frames, one in so many."""
    held_out_sequences: tuple[str, ...] | None = None
    """None = the format's own; of NeRSemble's FREE, or the last sequence where there is no FREE."""
    held_out_cameras: tuple[str, ...] | None = None
    """None = the format's own; of NeRSemble's those of its protocols."""
    color: bool = True
    """NeRSemble v2's colour calibration is applied."""
    cache: Path | None = None
    """Where frames of videos are unpacked; None = the user's cache folder."""
    budget: int = BUDGET
    """Bytes of decoded pixels that are kept."""


@dataclass(frozen=True)
class FoundCamera:
    """One camera as a source gives it."""

    name: str
    camera_from_world: Float[ndarray, "4 4"]
    K: Float[ndarray, "3 3"]
    """For pictures of full size, their corner at 0."""
    place: str
    """For messages."""


@dataclass(frozen=True)
class FoundSequence:
    """One sequence as a source gives it; pictures of each camera by number of frame."""

    name: str
    folder: Path
    photos: Sequence[Mapping[int, Picture]]
    masks: Sequence[Mapping[int, Picture]]
    track: SequenceTrack
    without_camera: str
    """For messages: what a user does to leave a camera out."""
    without_sequence: str
    """The same of the sequence."""


def assembled(
    folder: Path,
    cameras: Sequence[FoundCamera],
    sequences: Sequence[FoundSequence],
    options: ReadOptions,
    held_out: tuple[Sequence[str], Sequence[str]],
    color_matrices: Mapping[int, Float[ndarray, "3 K"]] | None = None,
    notes: Sequence[str] = (),
) -> Capture:
    """`held_out`: sequences and cameras that the format holds out, where the options say nothing.

    Raises:
        InputError: frames, codes or cameras that do not fit together.
    """
    if not sequences:
        raise InputError(f"{folder}: no sequence with pictures of all cameras")
    names = [camera.name for camera in cameras]
    photos, masks, tracks, infos, frame_names = [], [], {}, [], []
    for sequence in sequences:
        numbers, track = _matched(sequence, names, options.every)
        start = len(frame_names)
        frame_names += [f"{sequence.name}/{number:05d}" for number in numbers]
        photos += [[pictures[n] for pictures in sequence.photos] for n in numbers]
        masks += [[pictures[n] for pictures in sequence.masks] for n in numbers]
        tracks[sequence.name] = track
        infos.append(SequenceInfo(sequence.name, range(start, len(frame_names))))
    placed, width, height = placed_cameras(cameras, photos[0], options.width)
    track, ident = joined(tracks, frame_names)
    cache = unpacked(options, width)
    files = PictureFiles(photos, masks, width, height, cache, color_matrices or {})
    held = [
        _known(given, default, have, what, folder)
        for given, default, have, what in (
            (options.held_out_sequences, held_out[0], [info.name for info in infos], "sequence"),
            (options.held_out_cameras, held_out[1], names, "camera"),
        )
    ]
    capture = Capture(
        folder,
        placed,
        tuple(names),
        tuple(infos),
        track,
        ident,
        track.prior,
        held[0],
        held[1],
        CachedPixels(files.photo, files.mask, options.budget),
        tuple(notes),
        files,
    )
    if not capture.train_frames or not capture.train_cameras:
        raise InputError(f"{folder}: every sequence or every camera is held out: nothing is left to train on")
    return capture


def usual_held_out(sequences: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """NeRSemble's; a single sequence is trained on."""
    last = [HELD_OUT_SEQUENCE] if HELD_OUT_SEQUENCE in sequences else sequences[1:][-1:]
    return last, HELD_OUT_CAMERAS


def wanted(have: Sequence[str], asked: Sequence[str] | None, what: str, place: Path) -> list[str]:
    """Those of `have` that are asked for.

    Raises:
        InputError: something is asked for that is not there.
    """
    missing = [name for name in asked or () if name not in have]
    if missing:
        raise InputError(f"{place}: no {what} {missing[0]!r}: it has {', '.join(have) or 'none'}")
    return [name for name in have if asked is None or name in asked]


def _known(
    given: Sequence[str] | None, default: Sequence[str], have: Sequence[str], what: str, folder: Path
) -> tuple[str, ...]:
    return tuple(wanted(have, given, what, folder)) if given is not None else tuple(n for n in have if n in default)


def _matched(sequence: FoundSequence, cameras: Sequence[str], every: int) -> tuple[list[int], SequenceTrack]:
    """Numbers of the frames that are used, and the codes of those."""
    numbers = sorted(set().union(*sequence.photos))
    for name, photos, masks in zip(cameras, sequence.photos, sequence.masks, strict=True):
        for what, pictures in (("photos", photos), ("masks", masks)):
            lost = [number for number in numbers if number not in pictures]
            if lost:
                count = f"{len(pictures)} {what} for {len(numbers)} frames; the first that is missing is {lost[0]}"
                remedy = f"copy them again, or {sequence.without_camera}"
                raise InputError(f"{sequence.folder}: camera {name}: {count}: {remedy}")
    track = sequence.track
    if track.frames is None and len(track.codes) != len(numbers):
        count = f"{len(track.codes)} codes for {len(numbers)} frames in {sequence.folder}"
        raise InputError(f"{track.source}: {count}: {_count_remedy(numbers, len(track.codes))}")
    rows = {number: row for row, number in enumerate(numbers if track.frames is None else track.frames)}
    used = [number for number in numbers if number in rows][::every]
    if len(used) < 2:
        count = f"{len(used)} frame{'' if len(used) == 1 else 's'} with codes"
        remedy = f"add frames, or {sequence.without_sequence}"
        raise InputError(f"{sequence.folder}: {count}: expected 2 or more: {remedy}")
    return used, track.rows([rows[number] for number in used])


def _count_remedy(numbers: Sequence[int], codes: int) -> str:
    """What to do about codes that are not as many as frames; frames that all cameras lack are named if it is clear."""
    from_0_or_1 = [range(start, start + codes) for start in (0, 1)]
    possible = [frames for frames in from_0_or_1 if set(numbers) < set(frames)]
    if len(possible) != 1:
        return "expected one code a frame: copy photos that are missing, or track the sequence again"
    lost = sorted(set(possible[0]) - set(numbers))
    listed = ", ".join(map(str, lost[:MOST_LISTED])) + (", ..." if len(lost) > MOST_LISTED else "")
    return (
        f"expected one code a frame, and no camera has frame{'' if len(lost) == 1 else 's'} {listed}: copy the photos "
        "and masks again, or track the sequence again"
    )


def placed_cameras(
    cameras: Sequence[FoundCamera], first: Sequence[Picture], width: int | None
) -> tuple[Cameras, int, int]:
    """Cameras for pictures of the working size, and that size.

    Raises:
        InputError: pictures of several sizes, or a camera that is none.
    """
    full_width, full_height = _one_size(first)
    for camera in cameras:
        params = pinhole_params(camera.K, camera.place)
        check_camera(SourceCamera("PINHOLE", params, full_width, full_height), camera.place)
        check_pose(camera.camera_from_world, camera.place)
    if width is not None and not 8 <= width <= full_width:
        raise InputError(f"width {width}: expected 8 to {full_width}, the width of {first[0].path}")
    viewmats = torch.from_numpy(np.stack([camera.camera_from_world for camera in cameras]))
    Ks = torch.from_numpy(np.stack([camera.K for camera in cameras]))
    working = width or full_width
    height = max(1, round(full_height * working / full_width))
    placed = Cameras(viewmats.double(), Ks.double(), full_width, full_height).resized(working, height)
    return dataclasses.replace(placed, viewmats=placed.viewmats.float(), Ks=placed.Ks.float()), working, height


def _one_size(first: Sequence[Picture]) -> tuple[int, int]:
    """Width and height of the first photos of all cameras."""
    sizes = [picture.size() for picture in first]
    usual = Counter(sizes).most_common(1)[0][0]
    for picture, size in zip(first, sizes, strict=True):
        if size != usual:
            same = first[sizes.index(usual)].path
            expected = f"expected one size for all cameras, {usual[0]}x{usual[1]} as {same} has"
            raise InputError(f"{picture.path}: {size[0]}x{size[1]} pixels: {expected}")
    return usual


def unpacked(options: ReadOptions, width: int) -> Unpacked:
    """Where frames of videos are kept."""
    import platformdirs

    return Unpacked(options.cache or Path(platformdirs.user_cache_dir("gs-reg")) / "captures", width)
