"""What an avatar is to do: codes and head poses of frames, from whatever source a user names."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
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
from gs_reg.driving.retarget import Neutral, near_rest, neutral_frames
from gs_reg.driving.types import LEAST_FPS, MOST_FPS
from gs_reg.driving.video import video_frames
from gs_reg.errors import InputError, MissingPart, reading
from gs_reg.io.atomic import atomic_path
from gs_reg.io.avatar import HEADER
from gs_reg.priors import UNIT_M, HeadPose

from .bridges import codes_of
from .driven_by import HELD_OUT, Kind, Reading, check_applies, file_kind, kind_of, table_beside
from .files import TrainedAvatar, open_avatar

TRACK_FPS = 24.0
"""Of tracked codes, whose capture says no rate."""
SHORT = 1.0
"""Seconds of a video that need not show the face at rest."""


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


def motion_of(avatar: TrainedAvatar, source: str, how: Reading) -> Motion:
    """The motion that `source` names: held-out, a sequence of the avatar's capture, a folder of another avatar or
    capture, a CSV of ARKit coefficients, a BVH, a video, or the JSON that was written beside one.

    Raises:
        InputError: no such source, one that cannot drive this avatar, or a part of `how` that does not apply to it.
        MissingPart: a video without MediaPipe's model.
    """
    kind, path = kind_of(avatar, source), Path(source)
    check_applies(avatar, source, kind, how)
    if kind == "sequence":
        motion = _of_sequence(avatar, source)
    elif kind == "folder":
        motion = _of_person(avatar, path, how)
    elif kind == "driven":
        motion = read_motion(avatar, path)
    else:
        motion = _of_drive(avatar, read_drive(path, how), path, kind, how)
    motion = motion if how.fps is None else motion.resampled(how.fps)
    if how.head == "turns":
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
    kind = file_kind(path)
    if kind == "table":
        return read_csv(path, angles=how.angles)
    if kind == "skeleton":
        beside = table_beside(path)
        return read_bvh(path, read_table(beside, angles=how.angles) if beside.is_file() else None)
    return smoothed(calibrated(tracked(path, how), path, how))


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
    return Calibration.from_clip(drive.arkit, how.neutral, is_short(drive)).applied_to(drive)


def is_short(drive: Drive) -> bool:
    return len(drive) < SHORT * drive.fps


def _own_neutral(avatar: TrainedAvatar) -> Neutral:
    rows = avatar.train_frames
    track = avatar.track
    return Neutral.of(track.codes[rows], track.pose[rows], avatar.details.neutral)


def retarget_from(avatar: TrainedAvatar, theirs: Neutral) -> Retarget:
    """From a source's neutral face to the avatar's, within the range that it was trained on."""
    own = avatar.track.codes[avatar.train_frames]
    return Retarget(theirs, _own_neutral(avatar), training_range(own, avatar.details.neutral))


def _of_sequence(avatar: TrainedAvatar, name: str) -> Motion:
    names = avatar.details.held_out_sequences if name == HELD_OUT else (name,)
    frames = [frame for name in names for frame in avatar.details.sequences[name]]
    if not frames:
        raise InputError("held-out: the avatar was trained on all sequences; name one of them")
    track = avatar.track
    return Motion(track.codes[frames], track.pose[frames], TRACK_FPS, f"tracked codes of {', '.join(names)}")


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
    check_neutral(how.neutral, len(track.codes), folder)
    retarget = retarget_from(avatar, Neutral.of(track.codes, track.pose, avatar.details.neutral, how.neutral))
    return Motion(retarget.codes(track.codes), retarget.pose(track.pose), TRACK_FPS, f"{folder}, relative to neutral")


def _of_drive(avatar: TrainedAvatar, drive: Drive, path: Path, kind: Kind, how: Reading) -> Motion:
    assert drive.arkit is not None
    check_neutral(how.neutral, len(drive), path)
    zero = torch.zeros_like(drive.arkit[:1])
    codes, zero = codes_of(avatar, torch.cat([drive.arkit, zero]), how.task).split([len(drive), 1])
    theirs, words = at_rest(avatar, drive, codes, zero[0], kind, how)
    retarget = retarget_from(avatar, theirs)
    return Motion(retarget.codes(codes), retarget.pose(drive.pose), drive.fps, f"{path}, relative to {words}")


def at_rest(
    avatar: TrainedAvatar, drive: Drive, codes: Float[Tensor, "T D"], zero: Float[Tensor, "D"], kind: Kind, how: Reading
) -> tuple[Neutral, str]:
    """The source's face at rest, and in words where it comes from.

    It is the frame of --neutral, or the mean of the most neutral frames where that is near rest, else a face with
    coefficients of 0, whose codes are `zero`. Of tables the head's pose is 0 then too; other sources have no such pose,
    and theirs is the mean of those frames.
    """
    assert drive.arkit is not None
    reference = avatar.details.neutral
    calmest = neutral_frames(codes, reference)
    of_frames = Neutral.of(codes, drive.pose, reference, how.neutral)
    if how.neutral is not None:
        return of_frames, f"frame {how.neutral}"
    long_video = kind == "video" and not is_short(drive)
    if how.calibration is None and (long_video or near_rest(drive.arkit[calmest])):
        return of_frames, f"the mean of frames {', '.join(map(str, sorted(calmest.tolist())))}"
    words = "a face with all coefficients 0"
    if kind != "table":
        return replace(of_frames, codes=zero), words
    still = HeadPose.identity(1)
    return Neutral(zero, still.rotation[0], still.translation[0], still.scale[0]), words


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
        finite = bool(codes.isfinite().all() and matrices.isfinite().all())
        if not (finite and LEAST_FPS <= fps <= MOST_FPS and 0 < unit_m < 100):
            raise InputError(
                f"{path}: expected finite codes and poses, and {LEAST_FPS} to {MOST_FPS} frames a second, got {fps:g}"
            )
        return Motion(codes, HeadPose.of_matrices(matrices, unit_m), fps, f"{words}, by {path}")
