"""Training in the folder of a run, with progress, events and checkpoints; Ctrl-C and its like save the state first."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from gs_reg.errors import InputError, reading, refusals_named
from gs_reg.fit import Step
from gs_reg.io import checkpoint
from gs_reg.stages import Stage, Training
from gs_reg.types import Splats

from .board import Watching
from .bounds import check_value
from .folder import Run
from .interrupts import Interrupted, signals_handled
from .progress import log, training_bar

EVENT_EVERY = 10
"""Steps between lines of events.jsonl."""


class Clock:
    """Seconds spent on a run; after a resume, `add` the seconds before the interrupt."""

    def __init__(self) -> None:
        self.began = time.perf_counter()

    @property
    def total(self) -> float:
        return time.perf_counter() - self.began

    def add(self, seconds: float) -> None:
        self.began -= seconds


class StopSignal:
    """Turns the first signal that interrupts into a flag that the loop reads; a second one interrupts at once."""

    requested: int | None = None
    """Number of the signal."""

    def __enter__(self) -> StopSignal:
        self.handling = signals_handled(self._request)
        self.handling.__enter__()
        return self

    def _request(self, number: int, _: object) -> None:
        if self.requested is not None:
            raise Interrupted(number)
        self.requested = number

    def __exit__(self, *_: object) -> None:
        self.handling.__exit__(None, None, None)


@dataclass(frozen=True)
class SaveTimes:
    """When checkpoints are written, beside after the last step; the two newest are kept."""

    every: int
    """Steps between checkpoints."""
    minutes: float = math.inf
    """Minutes after the last checkpoint."""
    keep_every: int | None = None
    """Checkpoints whose step is a multiple of this are kept too."""

    def __post_init__(self) -> None:
        check_value("checkpoint_every", self.every, "every")
        check_value("checkpoint_minutes", self.minutes, "minutes")
        check_value("keep_every", self.keep_every, "keep_every")


def open_training(run: Run, stages: Sequence[Stage], device: torch.device, clock: Clock | None) -> Training:
    """From the newest checkpoint of the run; with `clock` the run goes on: its seconds count, and what it noted after
    the checkpoint is dropped.

    New runs go this way too, from the checkpoint of step 0: so a resumed run takes the same path as an unbroken one.

    Raises:
        InputError: the checkpoint is broken, or of other stages; names it.
    """
    newest = checkpoint.latest(run.checkpoints)
    if newest is None:
        raise InputError(f"{run.checkpoints}: no checkpoint to continue from; delete {run.path} and start again")
    saved = checkpoint.load(newest)
    with reading(newest), refusals_named(newest):
        seconds, threads = float(saved.state["seconds"]), saved.state.get("threads")
        training = Training.resume(stages, saved, device)
    if clock is not None:
        clock.add(seconds)
        report_threads(threads)
        run.drop_events_after(saved.step)
    return training


@runtime_checkable
class Onlooker(Protocol):
    """Somebody who looks at the fit between its steps, and may make it wait."""

    def saw(
        self, step: Step, done: int, steps: int, stage: str, psnr: float | None, ended: Callable[[], bool], /
    ) -> float:
        """`done` and `steps` count over all stages; a wait is over once `ended` says so. Returns the seconds of it."""
        ...


def train(
    run: Run,
    training: Training,
    clock: Clock,
    times: SaveTimes,
    watching: Watching = Watching(),
    onlooker: Onlooker | None = None,
) -> None:
    """Does the remaining steps of all stages; the state is saved at `times`, after the last step and on a signal.

    `watching` says what is told meanwhile, `onlooker` sees every step; the result depends on neither.

    Raises:
        Interrupted: on Ctrl-C, SIGTERM or SIGHUP, after a checkpoint was saved.
    """
    steps = training.steps
    run.status("running", step=training.step, steps=steps)
    saved, before, undrawn = time.monotonic(), training.stage, 0
    bar, board_of = training_bar(steps, training.step), watching.opened(run, training.step)
    with bar as report, StopSignal() as stop, board_of as board:
        for step in training:
            done, psnr = training.step, step_psnr(step)  # `done` counts over all stages, `step.number` in its own
            report(done, step.loss, math.nan if psnr is None else psnr, step.gaussians, 1000 * step.seconds)
            if done % EVENT_EVERY == 0 or done in (1, steps):
                spent = {"terms": dict(step.values), "ms": 1000 * step.seconds}
                board.told(done, step.gaussians, stage=training.stage.name, loss=step.loss, psnr=psnr, **spent)
            if watching.due(done, steps):
                board.evaluate(training)
            if onlooker is not None:
                paused = onlooker.saw(step, done, steps, training.stage.name, psnr, lambda: stop.requested is not None)
                clock.add(-paused)
            signalled, due = stop.requested, time.monotonic() - saved >= 60 * times.minutes
            if done == steps or done % times.every == 0 or due or signalled is not None:
                training.save(run.checkpoints, keep_every=times.keep_every, **details(clock))
                undrawn = report_undrawn(step.splats, done, undrawn)
                run.status("running", step=done, steps=steps)
                saved = time.monotonic()
            if signalled is not None:
                raise Interrupted(signalled)
        if training.stage is not before and training.state.step == 0:  # a last stage of no steps has begun a model
            training.save(run.checkpoints, keep_every=times.keep_every, **details(clock))


def details(clock: Clock) -> dict[str, float]:
    """What a checkpoint of a run says beside the state: the seconds so far, and torch's number of threads."""
    return {"seconds": clock.total, "threads": torch.get_num_threads()}


def report_threads(before: object) -> None:
    """Says so where a run goes on with another number of threads than its checkpoint was made with."""
    now = torch.get_num_threads()
    if isinstance(before, int) and before != now:
        log.warning(
            "resumed with %d threads, begun with %d: convolutions and matrix products of torch may round otherwise; "
            "OMP_NUM_THREADS=%d keeps every bit",
            *(now, before, before),
        )


def report_undrawn(splats: Splats, done: int, before: int) -> int:
    """Warns where more splats than `before` have values that no picture can show; returns their number."""
    count = int((~splats.finite).sum())
    if count > before:
        log.warning(
            "step %d: %d of %d splats have values that are not finite, or far too large; they are not drawn",
            *(done, count, len(splats)),
        )
    return max(count, before)


def step_psnr(step: Step) -> float | None:
    """PSNR of the step's render inside the masks; None where the views have no images."""
    if step.views.images is None:
        return None
    errors = (step.image.colors - step.views.images).square().mean(-1)
    mse = errors.mean() if step.views.masks is None else errors[step.views.masks].mean()
    return float(-10 * torch.log10(mse.clamp_min(1e-12)))
