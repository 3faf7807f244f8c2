"""What the live page of an avatar's training shows."""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.data_tools.heads.types import Capture
from gs_reg.fit import Step
from gs_reg.models.avatar import Avatar
from gs_reg.stages import Training
from gs_reg.types import Views

from ..view.live.subject import LivePhoto, Subject
from .drawing import Head, draw
from .job import Job
from .shots import neutral_frames, over

MOST_FRAMES, MOST_CAMERAS = 3, 6
"""Frames of held-out sequences whose photos are offered, beside the most neutral one; and cameras to train with."""


def live_subject(job: Job, training: Training) -> Subject:
    """All cameras of the most neutral frame, and of a few of the sequences that are held out."""
    capture, source = job.source.capture, job.source
    trained = torch.tensor(capture.train_frames)
    neutral = int(trained[neutral_frames(source.codes, source.prior.neutral, 0.0)[0]])
    tests = capture.test_frames
    picked = [tests[i * len(tests) // MOST_FRAMES] for i in range(min(MOST_FRAMES, len(tests)))]
    photos = [_photo(capture, frame, camera) for frame in (neutral, *picked) for camera in _cameras(capture)]
    photos.sort(key=lambda photo: photo.held_out)
    model = cast(Head, training.state.model)
    splats, pose = model(capture.views(neutral, [0]).to(job.device)), torch.eye(4)
    if isinstance(model, Avatar):
        pose = model.pose(neutral).detach()
    means = splats.means.detach() @ pose[:3, :3].to(splats.means).T + pose[:3, 3].to(splats.means)
    return Subject(photos, torch.ones(3, device=job.device), means, draw_head)


def _photo(capture: Capture, frame: int, camera: int) -> LivePhoto:
    held_out = frame in capture.test_frames or camera in capture.test_cameras
    name = f"{capture.frame_names[frame]}/{capture.camera_names[camera]}"
    return LivePhoto(name, capture.cameras[camera], held_out, partial(_loaded, capture, frame, camera), frame)


def draw_head(step: Step, views: Views, background: Float[Tensor, "3"], moving: bool) -> Float[Tensor, "H W 3"]:
    """Over white, with the network in screen space once that is trained."""
    return draw(cast(Head, step.state.model), views, screen=bool(step.shot.features))[0]


def _cameras(capture: Capture) -> list[int]:
    """Some to train with, evenly picked, and those that are held out."""
    trained = capture.train_cameras
    count = min(MOST_CAMERAS, len(trained))
    return [*(trained[i * len(trained) // count] for i in range(count)), *capture.test_cameras]


def _loaded(capture: Capture, frame: int, camera: int) -> Views:
    """Over white, as it is drawn."""
    return over(capture.views(frame, [camera]), torch.ones(3))
