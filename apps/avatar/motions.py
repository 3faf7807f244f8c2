"""What an avatar is to do: codes and head poses of frames, from whatever source a user names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from gs_reg.data_tools.heads import read_capture
from gs_reg.driving import (
    Calibration,
    Drive,
    Retarget,
    read_bvh,
    read_csv,
    smoothed,
    track_faces,
    training_range,
)
from gs_reg.driving.csv import read_table
from gs_reg.driving.retarget import Neutral
from gs_reg.errors import InputError, MissingPart, reading
from gs_reg.io.atomic import atomic_path
from gs_reg.io.avatar import HEADER
from gs_reg.priors import UNIT_M, HeadPose

from ..look.video import SUFFIXES
from .bridges import codes_of
from .files import TrainedAvatar, open_avatar

HELD_OUT = "held-out"
VIDEOS = (*SUFFIXES, ".avi", ".webm", ".m4v")
TRACK_FPS = 24.0
"""Of tracked codes, whose capture says no rate."""
MOST_FPS = 1000


@dataclass(frozen=True)
class Motion:
    codes: Float[Tensor, "T D"]
    pose: HeadPose
    """world_from_canonical in the avatar's own world."""
    fps: float
    words: str
    """Where it comes from."""

    def __len__(self) -> int:
        return len(self.codes)

    def resampled(self, fps: float) -> Motion:
        """The same motion at another rate."""
        drive = Drive(None, self.pose, self.fps, self.codes).resampled(fps)
        assert drive.codes is not None
        return replace(self, codes=drive.codes, pose=drive.pose, fps=fps)


@dataclass(frozen=True)
class Reading:
    """How a source is read."""

    fps: float | None = None
    """Of the motion; None = the source's."""
    task: Path | None = None
    """MediaPipe's model of faces."""
    calibration: Path | None = None
    neutral: int | None = None
    """Frame of the source, at its own rate, in which its face is at rest."""
    focal: float | None = None
    """Of the video's camera, in pixels."""
    turn: bool = True
    """False = the head stays where the avatar's neutral frame has it."""


def motion_of(avatar: TrainedAvatar, source: str, how: Reading) -> Motion:
    """The motion that `source` names: held-out, a sequence of the avatar's capture, a folder of another avatar or
    capture, a CSV of ARKit coefficients, a BVH, a video, or the JSON that was written beside one.

    Raises:
        InputError: no such source, or one that cannot drive this avatar.
        MissingPart: a video without MediaPipe's model.
    """
    track, path = avatar.track, Path(source)
    sequences = avatar.details.sequences
    if source == HELD_OUT or source in sequences:
        names = avatar.details.held_out_sequences if source == HELD_OUT else (source,)
        frames = [frame for name in names for frame in sequences[name]]
        if not frames:
            raise InputError("held-out: the avatar was trained on all sequences; name one of them")
        motion = Motion(track.codes[frames], track.pose[frames], TRACK_FPS, f"tracked codes of {', '.join(names)}")
    elif path.is_dir():
        motion = _of_person(avatar, path, how)
    elif path.suffix.lower() == ".json" and path.is_file():
        motion = read_motion(avatar, path)
    elif path.is_file():
        motion = _of_drive(avatar, read_drive(path, how), str(path), how)
    else:
        known = ", ".join([HELD_OUT, *sequences])
        raise InputError(f"{source}: no such file or folder, and no sequence of the avatar's: it has {known}")
    motion = motion if how.fps is None else motion.resampled(how.fps)
    if how.turn:
        return motion
    return replace(motion, pose=neutral_pose(avatar, len(motion)))


def neutral_pose(avatar: TrainedAvatar, count: int = 1) -> HeadPose:
    """Where the head is in the avatar's most neutral frames, for `count` frames."""
    still = _own_neutral(avatar)
    return HeadPose(
        still.rotation.expand(count, 3, 3),
        still.translation.expand(count, 3),
        still.scale.expand(count),
        avatar.track.pose.unit_m,
    )


def read_drive(path: Path, how: Reading) -> Drive:
    """Coefficients and poses in a CSV, a BVH (with a CSV of its name beside it) or a video.

    Raises:
        InputError: another kind of file, or one that is broken.
        MissingPart: a video without MediaPipe's model.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return read_csv(path)
    if suffix == ".bvh":
        beside = path.with_suffix(".csv")
        return read_bvh(path, read_table(beside) if beside.is_file() else None)
    if suffix in VIDEOS:
        return smoothed(calibrated(tracked(path, how), path, how))
    raise InputError(f"{path}: expected .csv, .bvh or a video ({', '.join(VIDEOS)}), got {suffix or 'no ending'}")


def tracked(path: Path, how: Reading) -> Drive:
    """What MediaPipe's model sees in a video.

    Raises:
        InputError: no video, or none with a face.
        MissingPart: without the model.
    """
    if how.task is None:
        raise MissingPart(
            f"{path}: driving by video needs MediaPipe's model of faces: give face_landmarker.task with --task"
        )
    frames, fps = video_frames(path)
    return track_faces(frames, how.task, fps, how.focal, path)


def check_neutral(neutral: int | None, count: int, source: str | Path) -> None:
    """Raises InputError where --neutral is no frame of the source."""
    if neutral is not None and not 0 <= neutral < count:
        raise InputError(f"--neutral {neutral}: expected a frame of {source}, 0 to {count - 1}")


def calibrated(drive: Drive, path: Path, how: Reading) -> Drive:
    """By the curves of --calibration, else by the clip's own neutral frame and range."""
    assert drive.arkit is not None
    check_neutral(how.neutral, len(drive), path)
    if how.calibration is not None:
        return Calibration.load(how.calibration).applied_to(drive)
    return Calibration.from_clip(drive.arkit, how.neutral).applied_to(drive)


def video_frames(path: Path) -> tuple[Iterator[UInt8[np.ndarray, "H W 3"]], float]:
    """The frames of a video one by one, and their rate.

    Raises:
        InputError: no video that can be read.
    """
    import imageio_ffmpeg

    with reading(path):
        stream = imageio_ffmpeg.read_frames(str(path))
        meta = next(stream)
        width, height = meta["source_size"]
        fps = float(meta["fps"])

    def frames() -> Iterator[np.ndarray]:
        with reading(path):
            for data in stream:
                yield np.frombuffer(data, np.uint8).reshape(height, width, 3)

    return frames(), fps


def _own_neutral(avatar: TrainedAvatar) -> Neutral:
    rows = avatar.train_frames
    track = avatar.track
    return Neutral.of(track.codes[rows], track.pose[rows], avatar.details.neutral)


def retarget_from(
    avatar: TrainedAvatar, codes: Float[Tensor, "T D"], pose: HeadPose, neutral: int | None, source: str
) -> Retarget:
    """From a source's neutral face to the avatar's, within the range that it was trained on."""
    check_neutral(neutral, len(codes), source)
    own = avatar.track.codes[avatar.train_frames]
    reference = avatar.details.neutral
    theirs = Neutral.of(codes, pose, reference, neutral)
    return Retarget(theirs, _own_neutral(avatar), training_range(own, reference))


def _of_person(avatar: TrainedAvatar, folder: Path, how: Reading) -> Motion:
    """Codes of another avatar's or capture's track: what differs from its neutral face is added to ours."""
    is_avatar = (folder / HEADER).is_file() or (folder / "avatar" / HEADER).is_file()
    if is_avatar:
        other = open_avatar(folder, torch.device("cpu"))
        track, prior = other.track, other.info.prior
    else:
        capture = read_capture(folder)
        track, prior = capture.tracks, capture.prior
    if prior != avatar.info.prior or track.codes.shape[1] != len(avatar.info.channels):
        raise InputError(
            f"{folder}: codes of prior {prior} with {track.codes.shape[1]} channels: expected {avatar.info.prior} with "
            f"{len(avatar.info.channels)}, as the avatar has"
        )
    retarget = retarget_from(avatar, track.codes, track.pose, how.neutral, str(folder))
    return Motion(retarget.codes(track.codes), retarget.pose(track.pose), TRACK_FPS, f"{folder}, relative to neutral")


def _of_drive(avatar: TrainedAvatar, drive: Drive, source: str, how: Reading) -> Motion:
    assert drive.arkit is not None
    rest = torch.zeros_like(drive.arkit[:1])
    codes, rest = codes_of(avatar, torch.cat([drive.arkit, rest]), how.task).split([len(drive), 1])
    retarget = retarget_from(avatar, codes, drive.pose, how.neutral, source)
    if how.calibration is not None and how.neutral is None:  # it has told already what the face at rest is
        retarget = replace(retarget, source=replace(retarget.source, codes=rest[0]))
    return Motion(retarget.codes(codes), retarget.pose(drive.pose), drive.fps, f"{source}, relative to neutral")


def write_motion(path: Path, motion: Motion) -> None:
    """Codes and poses as JSON, so that a video can be told from what was asked of it."""
    content = {
        "unit_m": motion.pose.unit_m,
        "source": motion.words,
        "fps": motion.fps,
        "codes": [[round(v, 5) for v in row] for row in motion.codes.tolist()],
        "poses": [[[round(v, 6) for v in row] for row in m] for m in motion.pose.matrices().tolist()],
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")


def read_motion(avatar: TrainedAvatar, path: Path) -> Motion:
    """What write_motion wrote, for an avatar of the same channels; codes as they are, relative to nothing.

    Raises:
        InputError: another file, or codes of another size.
    """
    with reading(path):
        data = json.loads(path.read_text(encoding="utf-8"))
        codes = torch.tensor(data["codes"], dtype=torch.float32)
        matrices = torch.tensor(data["poses"], dtype=torch.float64)
        fps, words, unit_m = float(data["fps"]), str(data["source"]), float(data.get("unit_m", UNIT_M))
        dim = len(avatar.info.channels)
        if codes.ndim != 2 or codes.shape[1] != dim or not len(codes):
            raise InputError(f"{path}: expected codes of {dim} channels, as the avatar has, got {list(codes.shape)}")
        if matrices.shape != (len(codes), 4, 4):
            raise InputError(f"{path}: expected a pose of 4x4 for each of {len(codes)} frames")
        if not (codes.isfinite().all() and matrices.isfinite().all() and 0 < fps <= MOST_FPS and 0 < unit_m < 100):
            raise InputError(f"{path}: expected finite codes and poses, and a rate from 0 to {MOST_FPS}")
        return Motion(codes, HeadPose.of_matrices(matrices, unit_m), fps, f"{words}, by {path}")
