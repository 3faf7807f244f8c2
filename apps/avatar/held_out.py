"""Held-out frames: whether their files can be read, and how they look while an avatar trains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from gs_reg import metrics
from gs_reg.stages import Training

from ..runs.board import Seen
from .drawing import Head, draw
from .evaluation import most_frontal, shown_camera, shown_frames
from .job import Job
from .protocols import over_white, protocols
from .sources import check_pixels


def check_evaluated(job: Job) -> None:
    """Reads every picture file whole that the evaluation compares or puts into its video.

    Raises:
        InputError: one is broken or of another size than its camera's others, or a mask is empty.
    """
    capture = job.source.capture
    for protocol in protocols(capture, job.config.eval_frames).values():
        check_pixels(capture, protocol.frames, protocol.cameras)
    in_video = capture.train_cameras[most_frontal(job, capture.train_cameras)]
    check_pixels(capture, capture.test_frames, [in_video])


def held_out(job: Job, training: Training) -> Iterator[Seen]:
    """Some frames of each protocol by its most frontal camera, over white, beside their photos."""
    model, capture = cast(Head, training.state.model), job.source.capture
    for name, protocol in protocols(capture, job.config.eval_frames).items():
        camera, _ = shown_camera(job, protocol)
        for frame in shown_frames(protocol):
            views = capture.views(frame, [camera])
            picture, photo = draw(model, views).cpu(), over_white(views)
            figures = {"psnr": float(metrics.psnr(picture, photo, None))}
            stem = capture.frame_names[frame].replace("/", "_")
            yield Seen(f"{name}/{stem}", picture[0], photo[0], figures)
