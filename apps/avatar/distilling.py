"""The first stage: the prior distilled into the coarse field of this person, with latent vectors of the cloud."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.errors import InputError, reading, refusals_named
from gs_reg.fields.coarse import CoarseField
from gs_reg.fields.distill import Distillation, code_statistics
from gs_reg.fields.distill import coarse_field as fresh_field
from gs_reg.fields.report import gates
from gs_reg.fields.slits import farthest_codes
from gs_reg.io import checkpoint
from gs_reg.io.checkpoint import Checkpoint
from gs_reg.models.avatar.start import start_cloud
from gs_reg.priors.types import SurfaceSample
from gs_reg.types import Splats

from ..runs.interrupts import Interrupted
from ..runs.progress import say
from ..runs.training import EVENT_EVERY, StopSignal
from .config import Config
from .job import Job
from .sources import Source, ended

REPORT = "distill_report.json"
FOLDER = "distil"
"""Of its checkpoints; those of the training are numbered from 0 again."""
QUIET, UNHEEDED = 0.04, 1e6
"""Standard deviation below which a coefficient has not moved, in its range, and the scale by which the detail field
does not heed it."""


@dataclass(frozen=True)
class Distilled:
    """What training starts from."""

    cloud: Splats
    latents: Float[Tensor, "N L"]
    coarse: CoarseField | None
    mean: Float[Tensor, "D"]
    """Of the codes; by it and `scale` the detail field standardises them."""
    scale: Float[Tensor, "D"]
    probes: Float[Tensor, "P D"]
    """Training codes that lie far apart."""


def distilled_field(job: Job) -> Distilled:
    """Distils, or goes on from the newest checkpoint; says and stores how well it came out.

    Raises:
        InputError: the field fails its gates, without --allow-bad-distill.
        Interrupted: on a signal, after a checkpoint was saved.
    """
    config, source = job.config, job.source
    cloud, sample = start_cloud(source.prior, source.ident, config.cloud)
    coarse = coarse_field(config, source)
    run = distillation(config, source, coarse or empty_field(config, source), sample)
    if coarse is not None:
        _steps(job, run)
        _check_gates(job, run)
    mean, scale = code_statistics(source.prior, source.codes)
    scale = torch.where(quiet(source), UNHEEDED, scale)
    return Distilled(cloud, run.latents.detach(), coarse, mean, scale, farthest_codes(source.codes, config.probes))


def quiet(source: Source) -> Bool[Tensor, "D"]:
    """Coefficients that training frames hardly move: a detail field would learn to read the tracker's noise in them,
    and would act by it as soon as a driver moves them."""
    prior, codes = source.prior, source.codes
    least = QUIET * (prior.hi - prior.lo).to(codes)
    return ended(prior).to(codes.device) & (codes.std(0, correction=0) < least)


def coarse_field(config: Config, source: Source) -> CoarseField | None:
    """A fresh one; None where the config is without."""
    return empty_field(config, source) if config.coarse else None


def empty_field(config: Config, source: Source) -> CoarseField:
    settings = replace(config.distil, seed=config.seed)
    field = fresh_field(source.prior, source.ident, source.codes, None, settings)
    if config.latents:
        return field
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        bare = CoarseField(**{**field.arguments, "latent": 0})
    bare.set_codes(field.code_mean, field.code_scale)
    return bare


def distillation(config: Config, source: Source, field: CoarseField, sample: SurfaceSample) -> Distillation:
    settings = replace(config.distil, seed=config.seed)
    return Distillation(field, sample, source.prior, source.codes, source.ident, settings)


def _steps(job: Job, run: Distillation) -> None:
    """The remaining steps, with checkpoints; the state is saved on a signal."""
    folder, times = job.run.path / FOLDER, job.config
    newest = checkpoint.latest(folder)
    if newest is not None:
        saved = checkpoint.load(newest)
        with reading(newest), refusals_named(newest):
            run.load({"model": saved.model, "optimizer": saved.optim}, saved.step)
        _drop_later_events(job, saved)
    total, saved_at, shown = run.total, time.monotonic(), time.monotonic()
    with StopSignal() as stop, job.times.stage("distil") as progress:
        for step in run:
            done, loss = run.step, sum(step.losses.values())
            left = (total - done) * step.seconds / 60
            progress(f"step {done:,} of {total:,}, loss {loss:.3f}, {left:.1f} min left", done / total)
            if done % EVENT_EVERY == 0 or done == total:
                job.run.event(distil=done, loss=loss, distil_terms=step.losses)
            if time.monotonic() - shown > 1:
                job.run.status("running", stage="distil", distil=done, distil_steps=total)
                shown = time.monotonic()
            due = time.monotonic() - saved_at >= 60 * times.checkpoint_minutes
            if done == total or done % times.checkpoint_every == 0 or due or stop.requested is not None:
                _save(job, run)
                saved_at = time.monotonic()
            if stop.requested is not None:
                raise Interrupted(stop.requested)
    say("distilled in closed form" if run.field.bumps is not None else f"distilled in {total:,} steps")


def _check_gates(job: Job, run: Distillation) -> None:
    """Says and stores how far the field is from the prior.

    Raises:
        InputError: too far, without --allow-bad-distill.
    """
    capture, config = job.source.capture, job.config
    if not (job.run.path / REPORT).is_file():
        with job.times.timed("distil"):
            held_out = capture.tracks.codes[list(capture.test_frames)] if len(capture.test_frames) else None
            report = gates(run.field, run.latents.detach(), run.subject, held_out, config.seed)
        for line in str(report).splitlines():
            say(f"  {line}")
        job.run.write_json(REPORT, report.to_json())
    failures = job.run.read_json(REPORT)["failures"]
    if failures and not config.allow_bad_distill:
        raise InputError(
            f"{job.run.path / REPORT}: the distilled field is too far from the prior ({failures[0]}): give it more "
            f"{'steps with --distil.steps' if run.field.bumps is None else 'bumps with --distil.bumps'}, or go on with "
            "--allow-bad-distill"
        )
    if failures:
        more = f"; {len(failures)} gates missed in all, see {REPORT}" if len(failures) > 1 else ""
        say(f"going on with a field that misses its gates: {failures[0]}{more}")


def _save(job: Job, run: Distillation) -> None:
    tensors = run.tensors()
    checkpoint.save(
        job.run.path / FOLDER, run.step, model=tensors["model"], optim=tensors["optimizer"], state={"distil": run.step}
    )


def _drop_later_events(job: Job, saved: Checkpoint) -> None:
    """Steps after the checkpoint are done again."""
    job.run.drop_events_after(saved.step, key="distil")
