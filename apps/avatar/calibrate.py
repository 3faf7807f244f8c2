"""`gs-reg avatar calibrate`: how far a person's scores go in a video, kept for all other videos of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from gs_reg.driving import Calibration, Drive, read_csv
from gs_reg.driving.csv import Angles
from gs_reg.errors import InputError, MissingPart
from gs_reg.priors import ARKIT

from ..runs.outputs import check_writable
from ..runs.progress import say
from .driven_by import Reading
from .motions import check_neutral, tracked


@dataclass(frozen=True)
class Config:
    video: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="VIDEO")] = ""
    """Video of a face that rests, and does each thing that it can do as far as it can."""
    task: Path | None = None
    """MediaPipe's face_landmarker.task."""
    truth: Path | None = None
    """Table of the ARKit coefficients that the frames truly have, of a rendered sweep for instance: a curve is fitted
    for each unit; default the video's own range."""
    neutral: int | None = None
    """Frame in which the face is at rest; default found by its scores. Not with --truth."""
    degrees: bool = False
    """Angles of --truth are in degrees and not in radians."""
    out: Path = Path("calibration.json")
    """File to write, for `avatar drive --calibration`."""


def main(config: Config) -> int:
    if not config.video:
        raise InputError("no video named: expected that of a face")
    if config.task is None:
        raise MissingPart("--task: calibrating needs MediaPipe's model of faces: give the path of face_landmarker.task")
    if config.truth is not None and config.neutral is not None:
        raise InputError("--neutral: with --truth the table tells which frames are at rest: expected one of the two")
    if config.truth is None and config.degrees:
        raise InputError("--degrees: expected it only with --truth, for the angles of that table")
    check_writable(config.out)
    path = Path(config.video)
    drive = tracked(path, Reading(task=config.task))
    if config.truth is not None:
        made = from_truth(drive, path, config.truth, "degrees" if config.degrees else "radians")
    else:
        made = of_range(drive, path, config.neutral)
    made.save(config.out)
    unseen = f"; not seen to act, and kept at 0: {', '.join(made.unseen)}" if made.unseen else ""
    say(f"wrote {config.out}: curves of {len(ARKIT) - len(made.unseen)} units from {len(drive)} frames{unseen}")
    return 0


def of_range(drive: Drive, path: Path, neutral: int | None) -> Calibration:
    """From rest to the most that the clip shows."""
    assert drive.arkit is not None
    check_neutral(neutral, len(drive), path)
    return Calibration.from_clip(drive.arkit, neutral)


def from_truth(drive: Drive, path: Path, table: Path, angles: Angles = "radians") -> Calibration:
    """Curves through the scores and the coefficients of the frames that show a face.

    Raises:
        InputError: another number of rows than frames, or none at rest.
    """
    truth = read_csv(table, source_fps=drive.fps, angles=angles)
    truth = truth if abs(truth.fps - drive.fps) < 0.01 else truth.resampled(drive.fps)
    if len(truth) != len(drive):
        raise InputError(f"{table}: expected {len(drive)} rows, one for each frame of {path}, got {len(truth)}")
    assert drive.arkit is not None and truth.arkit is not None
    seen = torch.ones(len(drive), dtype=torch.bool) if drive.seen is None else drive.seen
    try:
        return Calibration.from_sweep(drive.arkit[seen], truth.arkit[seen])
    except ValueError as error:
        raise InputError(f"{table}: {str(error).removeprefix('sweep: ')}") from error
