"""What the live page of an edit shows: the splats as they change, and the edited pictures that they are fitted to."""

from __future__ import annotations

from gs_reg.types import Views

from ..view.live.subject import LivePhoto, Subject
from .job import Job


def live_subject(job: Job, anchors: Views) -> Subject:
    photos = [
        LivePhoto(anchors.names[i], anchors.cameras[i], False, lambda i=i: anchors[i]) for i in range(len(anchors))
    ]
    means = job.scene.splats.means.to(job.device)
    return Subject(photos, job.scene.background.to(job.device), means)
