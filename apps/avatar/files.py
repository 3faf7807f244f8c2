"""The avatar's own files, which drive and export read: both work without the capture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gs_reg.errors import InputError, reading
from gs_reg.io.avatar import HEADER, AvatarInfo
from gs_reg.models.avatar import Avatar
from gs_reg.models.avatar.saving import load_avatar, save_avatar
from gs_reg.priors.types import HeadPose, Track
from gs_reg.types import Cameras

from ..look.report import read_json
from ..runs.folder import open_run
from .details import Details
from .distilling import REPORT
from .drawing import Head
from .evaluation import most_frontal
from .job import Job
from .results import PROTOCOLS

FOLDER = "avatar"


@dataclass(frozen=True)
class TrainedAvatar:
    folder: Path
    """Of the avatar's files."""
    model: Avatar
    info: AvatarInfo
    details: Details

    @property
    def track(self) -> Track:
        """Codes and poses of all frames, as tracked."""
        matrices, unit = self.model.poses, self.details.unit_m
        linear = matrices[:, :3, :3]
        size = torch.linalg.det(linear).clamp_min(1e-12) ** (1 / 3)
        pose = HeadPose(linear / size[:, None, None], matrices[:, :3, 3], size / unit, unit)
        return Track(self.model.tracked, pose, self.info.prior, self.details.frame_names)

    @property
    def train_frames(self) -> list[int]:
        return self.details.train_frames

    @property
    def cameras(self) -> Cameras:
        return self.details.cameras

    @property
    def camera_names(self) -> tuple[str, ...]:
        return self.details.camera_names

    @property
    def frontal(self) -> int:
        return self.details.frontal


def write_avatar(job: Job, model: Head, result: dict[str, Any]) -> None:
    """avatar.safetensors and avatar.json; of the rig-bound rival, whose home is the benchmark, nothing."""
    if not isinstance(model, Avatar):
        return
    prior, capture = job.source.prior, job.source.capture
    details = {
        "unit_m": prior.unit_m,
        "ident": None if capture.ident is None else capture.ident.tolist(),
        "neutral": prior.neutral.tolist(),
        "frame_names": list(capture.frame_names),
        "sequences": {s.name: [s.frames.start, s.frames.stop] for s in capture.sequences},
        "train_frames": list(capture.train_frames),
        "held_out_sequences": list(capture.held_out_sequences),
        "cameras": {
            "names": list(capture.camera_names),
            "held_out": list(capture.held_out_cameras),
            "size": [capture.cameras.width, capture.cameras.height],
            "viewmats": capture.cameras.viewmats.double().tolist(),
            "Ks": capture.cameras.Ks.double().tolist(),
            "frontal": most_frontal(job, tuple(range(len(capture.cameras)))),
        },
        "distil": read_json(job.run.path / REPORT) or None,
        "metrics": {name: result[name] for name in PROTOCOLS},
        "protocols": result["protocols"],
    }
    info = AvatarInfo(
        capture.prior,
        tuple(prior.channels),
        tuple(prior.lo.tolist()),
        tuple(prior.hi.tolist()),
        job.config.licence,
        job.config.consent,
        details,
    )
    save_avatar(job.run.path / FOLDER, model, info)


def open_avatar(path: Path, device: torch.device) -> TrainedAvatar:
    """From the folder of a run, or of an avatar's files.

    Raises:
        InputError: there is no avatar.
    """
    if (path / HEADER).is_file():
        folder = path
    elif (path / FOLDER / HEADER).is_file():
        folder = path / FOLDER
    else:
        run = open_run(path)
        folder = run.path / FOLDER
        if not (folder / HEADER).is_file():
            status = read_json(run.path / "status.json").get("state", "unknown")
            raise InputError(f"{folder / HEADER}: missing: its training is {status}, or of the rig-bound rival")
    model, info = load_avatar(folder)
    with reading(folder / HEADER):
        details = Details.of(info.details, *model.tracked.shape)
    return TrainedAvatar(folder, model.to(device), info, details)
