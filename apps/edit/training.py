"""The two stages of an edit: coarse, from a part without its colour, and fine, from where that ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.densify import density_control
from gs_reg.densify.control import DensityControl
from gs_reg.densify.part import PartDensity
from gs_reg.diffusion.sds import SdsConfig, sds_loss
from gs_reg.fit import FitConfig, shuffled
from gs_reg.io import checkpoint
from gs_reg.io.rows import RowEdit
from gs_reg.models.part_edit import PartEdit
from gs_reg.parts.carry import carry_colors
from gs_reg.parts.types import Decision
from gs_reg.parts.views import dilated
from gs_reg.render import RenderConfig, render
from gs_reg.shot import Shot
from gs_reg.stages import Stage, Training
from gs_reg.state import Model
from gs_reg.terms.guidance import EditCost, Guidance
from gs_reg.types import Splats, Views

from ..runs.board import PICTURES, Seen, Watching
from ..runs.training import Clock, SaveTimes, details, open_training, train
from .anchors import edit_prompt, negative_words
from .config import Config
from .job import Job
from .live import live_subject
from .presets import step_counts

if TYPE_CHECKING:
    from ..view.live.page import LivePage

MARGIN = 8 / 512
"""Of the longer side: with --shape, so far around the part an edited picture counts too."""


@dataclass(frozen=True)
class Shots:
    """One anchor a step, each once an epoch."""

    anchors: Views
    render: RenderConfig
    background: Float[Tensor, "3"]
    seed: int

    def __call__(self, step: int) -> Shot:
        return Shot(self.anchors[shuffled(len(self.anchors), step, self.seed)], self.render, self.background)


def optimise(job: Job, decision: Decision, anchors: Views, clock: Clock, page: LivePage | None = None) -> PartEdit:
    """Coarse and fine, from the newest checkpoint where there is one."""
    config = cast(Config, job.config)
    with job.stage("training"):
        stages = stages_of(job, decision, anchors)
        again = checkpoint.latest(job.run.checkpoints) is not None
        if not again:
            Training.begin(stages, job.device).save(job.run.checkpoints, keep_every=None, **details(clock))
        training = open_training(job.run, stages, job.device, clock if again else None)
        if page is not None:
            page.show(live_subject(job, anchors))
        times = SaveTimes(config.checkpoint_every, config.checkpoint_minutes)
        watching = Watching(config.log, config.eval_every, partial(_anchors_now, job, anchors))
        train(job.run, training, clock, times, watching, page)
    return cast(PartEdit, training.state.model)


def _anchors_now(job: Job, anchors: Views, training: Training) -> Iterator[Seen]:
    """Some anchors as the edit looks now, beside their edited pictures."""
    splats, scene = training.state.model.canonical(), job.scene
    for i in range(0, len(anchors), -(-len(anchors) // PICTURES)):
        view = anchors[i]
        behind = scene.background.to(splats.means).expand(1, 3)
        image = render(splats, view.cameras.to(splats.means.device), scene.render, backgrounds=behind)
        yield Seen(f"anchor_{i:02d}", image.colors[0], None if view.images is None else view.images[0])


def stages_of(job: Job, decision: Decision, anchors: Views) -> list[Stage]:
    config, scene = cast(Config, job.config), job.scene
    splats = replace(scene.splats, extra={}).to(job.device)
    chosen = decision.part(config.part).to(job.device)
    settings = replace(config.model_edit, shape=config.shape)
    if config.shape and anchors.masks is not None:
        margin = max(1, round(MARGIN * max(anchors.cameras.width, anchors.cameras.height)))
        anchors = replace(anchors, masks=dilated(anchors.masks, margin))

    def begin(before: Model | None) -> Model:
        if before is None:
            return PartEdit.from_splats(splats, chosen, settings, None if config.neutral == "none" else config.neutral)
        return load(before.state_dict())

    def load(tensors: Mapping[str, Tensor]) -> Model:
        return PartEdit(splats, {name: value.to(job.device) for name, value in tensors.items()}, settings)

    coarse, fine = step_counts(config.steps, config.coarse, config.fine)
    sds = config.guidance.sds
    capped = replace(sds, u_high=min(sds.u_high, config.guidance.fine_u), u_end=min(sds.u_end, config.guidance.fine_u))
    made = []
    for number, (name, steps, noise) in enumerate((("coarse", coarse, sds), ("fine", fine, capped))):
        if steps:
            shots = Shots(anchors, scene.render, scene.background.to(job.device), config.seed + number)
            cost = EditCost(config.terms, guidance_of(job, noise, number), config.guidance.balance)
            made.append(Stage(name, FitConfig(steps), shots, cost, begin, load, lambda: density_of(config)))
    return made


def finished(job: Job, model: PartEdit, anchors: Views) -> RowEdit:
    """What training came to; without guidance, which sees all sides, colours are carried to what no anchor shows."""
    config, edit = cast(Config, job.config), model.row_edit()
    if config.guidance.weight > 0:
        return edit
    splats = model.canonical().detach()
    rows = carry_colors(splats, splats.extra["edited"] > 0, anchors, job.scene.render)
    return replace(edit, splats=rows.to("cpu"))


def guidance_of(job: Job, sds: SdsConfig, number: int) -> Guidance | None:
    """Score distillation by the model; None where it has no weight."""
    config = cast(Config, job.config)
    if config.guidance.weight == 0:
        return None
    model = job.model()
    text, null = model.text([edit_prompt(job)]), model.text([negative_words(job)])

    def loss(pictures: Tensor, masks: Bool[Tensor, "B H W"], progress: float, generator: torch.Generator) -> Tensor:
        return sds_loss(model, pictures, masks, text, null, sds, generator=generator, progress=progress)

    cameras = job.scene.views.cameras
    seed = config.seed + number
    return Guidance(loss, cameras, model.resolution, config.guidance.weight, seed)


def density_of(config: Config) -> DensityControl | None:
    """Growth within the part, only where its shape may change."""
    inner = density_control(config.densify, config.seed) if config.shape else None
    return None if inner is None else PartDensity(inner)


def edited_splats(model: PartEdit, before: Splats) -> Splats:
    """In the order of the file."""
    return model.row_edit().applied_to(before)
