"""The training part of a run: photos in an order that the step alone decides, progress, events, checkpoints."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from gs_reg.data_tools.photos.masks import MaskMode
from gs_reg.fit import Step, fit, shuffled
from gs_reg.types import Views

from ..runs.folder import Run
from ..runs.progress import training_bar
from .stages import Stage, State, following, steps_of


@dataclasses.dataclass(frozen=True)
class Batches:
    """Photo and background of every step; both depend on the step alone, so that resuming needs no history."""

    views: Sequence[Views]
    mode: MaskMode
    """transparent: masked pixels must stay empty, so they are drawn over, and compared with, a new colour each step."""
    seed: int

    def background(self, step: int, count: int = 1) -> Tensor:
        """[count, 3]: random where empty pixels are known to be empty, else the mean colour of the photos."""
        if self.mode != "transparent":
            return mean_color(self.views).expand(count, 3)
        generator = torch.Generator().manual_seed(7_919 * self.seed + step)
        return torch.rand(1, 3, generator=generator).to(self.views[0].photos).expand(count, 3)

    def __call__(self, step: int) -> Views:
        view = self.views[shuffled(len(self.views), step, self.seed)]
        if self.mode != "transparent" or view.masks is None:
            return view
        behind = self.background(step)[:, None, None]
        return dataclasses.replace(view, images=torch.where(view.masks[..., None], view.photos, behind), masks=None)


def train(
    run: Run,
    stages: Sequence[Stage],
    state: State,
    batches: Batches,
    config: Any,
    save: Callable[[State, bool], None],
) -> State:
    """Runs the stages from `state` to the end; `save(state, last)` follows every step, `last` where the run ends.

    Raises:
        KeyboardInterrupt: Ctrl-C, after the state was saved.
    """
    steps = steps_of(stages)
    run.status("running", step=state.step, steps=steps)
    with training_bar(steps, state.step) as report, StopSignal() as stop:
        while True:
            for step in steps_from(state, batches):
                psnr = step_psnr(step)
                report(state.step, step.loss, psnr, len(step.splats), 1000 * step.seconds)
                if state.step % 10 == 0 or state.step in (1, steps):
                    spent = {"terms": dict(step.values), "ms": 1000 * step.seconds}
                    run.event(step=state.step, stage=state.stage.name, loss=step.loss, psnr=psnr, **spent)
                save(state, state.step == steps or stop.asked)
                if stop.asked:
                    raise KeyboardInterrupt
            if state.stage == stages[-1]:
                return state
            state = following(stages[-1], state, config)


def steps_from(state: State, batches: Batches) -> Iterator[Step]:
    """The loop over what is left of a stage; keeps count in the state."""
    for step in fit(
        state.model,
        batches,
        state.stage.terms,
        state.stage.fit,
        state.optimizer,
        first=state.done,
        seed=batches.seed,
        backgrounds=lambda number, views: batches.background(number, len(views)),
        densify=state.densifier,
    ):
        state.done = step.number + 1
        yield step


class StopSignal:
    """Turns the first Ctrl-C into a wish that the loop reads; the second one ends the program."""

    asked = False

    def __enter__(self) -> StopSignal:
        self.previous = signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, *_: object) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, self.previous)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self.previous)


def mean_color(views: Sequence[Views]) -> Tensor:
    """Mean colour of the training photos' pixels that count: what regions that no photo saw are drawn over."""
    kept = [v.photos[0] if v.masks is None else v.photos[0][v.masks[0]] for v in views]
    return torch.stack([k.reshape(-1, 3).mean(0) for k in kept]).mean(0)


def step_psnr(step: Step) -> float:
    """PSNR of the step's own view over the pixels that count."""
    errors = (step.image.colors - step.views.photos).square().mean(-1)
    mse = errors.mean() if step.views.masks is None else errors[step.views.masks].mean()
    return float(-10 * torch.log10(mse.clamp_min(1e-12)))
