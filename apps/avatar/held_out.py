"""Held-out frames while an avatar trains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from gs_reg import metrics
from gs_reg.stages import Training

from ..runs.board import Seen
from .drawing import Head, draw
from .evaluation import shown_camera, shown_frames
from .job import Job
from .protocols import over_white, protocols


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
