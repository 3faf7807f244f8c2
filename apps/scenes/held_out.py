"""The held-out photos while a run trains, measured as `gs-reg eval` measures them at its end."""

from __future__ import annotations

from collections.abc import Iterator

from gs_reg.data_tools.dataset import Dataset, load_views
from gs_reg.stages import Training

from ..runs.board import Seen
from .config import Config
from .evaluate import HEADLINE, colors_behind, draw, in_8_bits, picture_metrics
from .stages import plan_stages


def held_out(config: Config, dataset: Dataset, training: Training) -> Iterator[Seen]:
    """Each held-out photo beside the picture of the splats as they would be exported now."""
    plan = next(plan for plan in plan_stages(config) if plan.name == training.stage.name)
    splats = plan.final_splats(training.state.model).to("cpu")
    for view in load_views(dataset, dataset.test):
        picture = in_8_bits(draw(splats, view, config), colors_behind(view.photos.new_zeros(3))[HEADLINE])
        figures = picture_metrics(picture, view.photos, view.masks)
        yield Seen(dataset.stems[view.names[0]], picture[0], view.photos[0], figures)
