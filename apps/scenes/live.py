"""What the live page of a reconstruction shows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from gs_reg.data_tools.dataset import Dataset, load_views
from gs_reg.stages import Training
from gs_reg.types import Views

from ..view.live.subject import LivePhoto, Subject
from .shots import mean_color


def live_subject(training: Training, dataset: Dataset, views: Sequence[Views]) -> Subject:
    """Held-out photos are opened only once somebody looks at one, and by the page alone: no loss sees them."""
    photos = [LivePhoto(view.names[0], view.cameras, False, lambda view=view: view) for view in views]
    for name in dataset.test:
        photos.append(LivePhoto(name, dataset.frame(name).camera, True, partial(_loaded, dataset, name)))
    means = training.state.model.canonical().means.detach()
    return Subject(photos, mean_color(views).to(means), means)


def _loaded(dataset: Dataset, name: str) -> Views:
    return load_views(dataset, [name])[0]
