"""Training in the folder of a run, with progress, events and checkpoints; Ctrl-C saves the state first."""

from __future__ import annotations

import math
import signal
import time

import torch

from gs_reg.fit import Step
from gs_reg.stages import Training

from .folder import Run
from .progress import training_bar

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
    """Turns the first Ctrl-C into a flag that the loop reads; a second one interrupts at once."""

    requested = False

    def __enter__(self) -> StopSignal:
        self.previous = signal.signal(signal.SIGINT, self._request)
        return self

    def _request(self, *_: object) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, self.previous)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self.previous)


def train(run: Run, training: Training, clock: Clock, every: int, keep_every: int | None = None) -> None:
    """Does the remaining steps of all stages, with a checkpoint every `every` steps and after the last.

    The two newest checkpoints are kept, and those whose step is a multiple of `keep_every`.

    Raises:
        KeyboardInterrupt: on Ctrl-C, after a checkpoint was saved.
    """
    steps = training.steps
    run.status("running", step=training.step, steps=steps)
    with training_bar(steps, training.step) as report, StopSignal() as stop:
        for step in training:
            done, psnr = training.step, step_psnr(step)  # `done` counts over all stages, `step.number` in its own
            report(done, step.loss, math.nan if psnr is None else psnr, step.gaussians, 1000 * step.seconds)
            if done % EVENT_EVERY == 0 or done in (1, steps):
                spent = {"terms": dict(step.values), "ms": 1000 * step.seconds}
                run.event(step=done, stage=training.stage.name, loss=step.loss, psnr=psnr, **spent)
            if done == steps or done % every == 0 or stop.requested:
                training.save(run.checkpoints, keep_every=keep_every, seconds=clock.total)
                run.status("running", step=done, steps=steps)
            if stop.requested:
                raise KeyboardInterrupt


def step_psnr(step: Step) -> float | None:
    """PSNR of the step's render inside the masks; None where the views have no images."""
    if step.views.images is None:
        return None
    errors = (step.image.colors - step.views.images).square().mean(-1)
    mse = errors.mean() if step.views.masks is None else errors[step.views.masks].mean()
    return float(-10 * torch.log10(mse.clamp_min(1e-12)))
