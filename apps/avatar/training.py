"""The stages of training: warm-up on neutral frames, joint on all, and the network in screen space."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from gs_reg.densify.clusters import ClusterControl
from gs_reg.densify.control import DensityControl
from gs_reg.fields.coarse import CoarseField
from gs_reg.fields.detail import DetailField
from gs_reg.fields.slits import farthest_codes
from gs_reg.fit import FitConfig
from gs_reg.io import checkpoint
from gs_reg.models.avatar import Avatar
from gs_reg.models.avatar.saving import check_tensors
from gs_reg.models.avatar.start import start_sample
from gs_reg.models.rig_bound import RigBound
from gs_reg.models.screen_cnn import ScreenCnn
from gs_reg.optim import OptimConfig
from gs_reg.stages import Stage, Training
from gs_reg.state import Model
from gs_reg.terms import Context, evaluate
from gs_reg.types import Views

from ..runs.board import Watching
from ..runs.training import Clock, SaveTimes, details, open_training, train
from .distilling import Distilled, coarse_field, empty_field
from .drawing import SCREEN, Head
from .held_out import held_out
from .job import Job
from .live import live_subject
from .shots import FrameShots, neutral_frames

if TYPE_CHECKING:
    from ..view.live.page import LivePage

NEUTRAL = 0.1
"""Share of the training frames that the warm-up sees: those with the most neutral codes."""
PAINTED, LIVELY = 6, 8
"""Cameras whose photos of the most neutral frame give the first colours, and frames which give those that it hides."""


def optimise(
    job: Job, distilled: Distilled | None, clock: Clock, begun: Callable[[Head], None], page: LivePage | None = None
) -> Head:
    """All stages, from the newest checkpoint where there is one; `begun` gets the avatar before the first step."""
    stages = stages_of(job, distilled)
    again = checkpoint.latest(job.run.checkpoints) is not None
    with job.times.timed("training"):
        if not again:
            first = Training.begin(stages, job.device)
            begun(cast(Head, first.state.model))
            first.save(job.run.checkpoints, keep_every=None, **details(clock))
        training = open_training(job.run, stages, job.device, clock if again else None)
        if page is not None:
            page.show(live_subject(job, training))
        times = SaveTimes(job.config.checkpoint_every, job.config.checkpoint_minutes)
        watching = Watching(job.config.log, job.config.eval_every, partial(held_out, job))
        train(job.run, training, clock, times, watching, page)
    return cast(Head, training.state.model)


def stages_of(job: Job, distilled: Distilled | None) -> list[Stage]:
    """Those with steps; of the rig-bound rival one alone."""
    if job.config.method == "rig-bound":
        return [_rig_stage(job)]
    assert distilled is not None
    steps = job.config.stage_steps
    made = []
    for number, name in enumerate(name for name, count in steps.items() if count):
        made.append(_stage(job, distilled, name, steps[name], first=number == 0))
    return made


def _stage(job: Job, distilled: Distilled, name: str, steps: int, first: bool) -> Stage:
    config = job.config
    settings = replace(
        config.model,
        detail=name != "warm-up" and bool(config.heads),
        train="screen" if name == "screen" else "all",
        seed=config.seed,
    )
    terms = config.terms if config.coarse else replace(config.terms, near=replace(config.terms.near, weight=0.0))

    def load(state: Mapping[str, Tensor]) -> Model:
        check_tensors(state, job.source.prior.dim)
        coarse, detail, screen = _networks(job, constant="detail.constant" in state)
        return Avatar.loaded(state, coarse, detail, settings, screen)

    def begin(before: Model | None) -> Model:
        if before is None:
            return _fresh(job, distilled, load)
        return load(before.state_dict())

    shots = shots_of(job, name, config.seed + list(config.stage_steps).index(name))
    cost = partial(_cleaned_cost, terms) if name == "screen" else partial(evaluate, terms)
    density = partial(_density, job) if name == "joint" else partial(_no_density)
    optim = OptimConfig(final_rate=0.1 if name == "joint" else 1.0, selective=True)
    return Stage(name, FitConfig(steps, optim), shots, cost, begin, load, density)


def _networks(job: Job, constant: bool = True) -> tuple[CoarseField | None, DetailField | None, ScreenCnn | None]:
    """Untrained ones, of the shapes that the config asks for; `constant` as the detail field has it, which runs of
    earlier versions have not."""
    config, coarse = job.config, coarse_field(job.config, job.source)
    shapes = empty_field(config, job.source).arguments
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        detail = DetailField(shapes["dim"], shapes["groups"], shapes["latent"], heads=config.heads, constant=constant)
        screen = ScreenCnn() if config.screen else None
    return coarse, detail if config.heads else None, screen


def _fresh(job: Job, distilled: Distilled, load: Callable[[Mapping[str, Tensor]], Model]) -> Model:
    """The first cloud with the distilled field, painted by the most neutral training frame."""
    source, config = job.source, job.config
    _, detail, screen = _networks(job)
    if detail is not None:
        detail.set_codes(distilled.mean, distilled.scale)
    avatar = Avatar.start(
        distilled.cloud,
        distilled.latents,
        distilled.coarse,
        detail,
        source.capture.tracks,
        source.prior.neutral,
        distilled.probes,
        replace(config.model, seed=config.seed),
        screen,
    )
    avatar.paint(*first_frames(job))
    return load(avatar.state_dict())


def first_frames(job: Job) -> Iterator[Views]:
    """Those that give the first colours: the most neutral one, then frames that show what it hides."""
    yield neutral_views(job)
    for frame in lively_frames(job):
        yield painting_views(job, frame)


def neutral_views(job: Job) -> Views:
    """Photos of the most neutral training frame."""
    frames = torch.tensor(job.source.capture.train_frames)
    return painting_views(job, int(frames[neutral_frames(job.source.codes, job.source.prior.neutral, 0.0)[0]]))


def lively_frames(job: Job) -> list[int]:
    """Training frames whose codes lie far apart: some show teeth, or lids."""
    frames = torch.tensor(job.source.capture.train_frames)
    codes = farthest_codes(job.source.codes, LIVELY)
    return [int(frames[(job.source.codes == code).all(1).nonzero()[0, 0]]) for code in codes]


def painting_views(job: Job, frame: int) -> Views:
    """Photos of a frame from all sides."""
    capture = job.source.capture
    cameras = capture.train_cameras
    picked = [cameras[i * len(cameras) // PAINTED] for i in range(min(PAINTED, len(cameras)))]
    return capture.views(frame, sorted(set(picked if len(cameras) >= PAINTED else cameras)))


def shots_of(job: Job, stage: str, seed: int) -> FrameShots:
    capture, config = job.source.capture, job.config
    frames = torch.tensor(capture.train_frames)
    if stage == "warm-up":
        frames = frames[neutral_frames(job.source.codes, job.source.prior.neutral, NEUTRAL)]
    return FrameShots(
        capture,
        frames,
        job.frame_clusters[frames],
        capture.train_cameras,
        config.views,
        seed,
        degree=0 if stage == "warm-up" else config.model.sh_degree,
        degree_every=config.degree_every if stage == "joint" else 0,
        features=SCREEN if stage == "screen" else (),
        device=job.device,
    )


def _cleaned_cost(terms: object, context: Context) -> Mapping[str, Tensor]:
    """The terms on what the network in screen space makes of the drawing."""
    return evaluate(terms, replace(context, image=context.model.screen(context.image)))


def _no_density() -> None:
    """Of stages whose number of Gaussians stays."""


def _density(job: Job) -> DensityControl:
    return ClusterControl(job.config.density, job.frame_clusters, job.config.seed)


def _rig_stage(job: Job) -> Stage:
    """The rival's one stage: Gaussians bound to triangles, which begin where, as opaque and in the colours that those
    of an avatar do; density control by mean scores."""
    config, source = job.config, job.source
    settings = replace(config.rig, sh_degree=config.model.sh_degree, opacity=config.model.opacity)
    track = source.capture.tracks

    def load(state: Mapping[str, Tensor]) -> Model:
        return RigBound(source.prior, source.ident, track, state, settings).to(job.device)

    def begin(_before: Model | None) -> Model:
        sample = start_sample(source.prior, source.ident, config.cloud)
        model = RigBound.on_surface(source.prior, source.ident, track, sample, settings)
        model.paint(*first_frames(job))
        return load(model.state_dict())

    def density() -> DensityControl:
        return ClusterControl(config.density, torch.zeros(len(track), dtype=torch.long), config.seed)

    steps = sum(config.stage_steps.values()) - config.stage_steps["screen"]
    cost = partial(evaluate, config.rig_terms)
    fit = FitConfig(steps, OptimConfig(final_rate=0.1, selective=True))
    shots = replace(shots_of(job, "joint", config.seed), degree_every=config.degree_every)
    return Stage("rig-bound", fit, shots, cost, begin, load, density)
