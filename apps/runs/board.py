"""What a run tells while it trains, beside its events: TensorBoard's files, held-out views measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import MissingPart
from gs_reg.stages import Training

from .folder import Run

Log = Literal["none", "tensorboard"]
FOLDER = "tb"
PICTURES = 4
"""Of each evaluation."""
EVALUATIONS = 10
"""Of a run with --log tensorboard that does not say --eval-every."""


@dataclass(frozen=True)
class Seen:
    """A view as the model draws it, beside its photo."""

    name: str
    picture: Float[Tensor, "H W 3"]
    photo: Float[Tensor, "H W 3"] | None = None
    figures: Mapping[str, float | None] = field(default_factory=dict)
    """PSNR and the like."""


def nothing(_: Training) -> Iterable[Seen]:
    return ()


@dataclass(frozen=True)
class Watching:
    """What is told of a training run; its result does not depend on it."""

    log: Log = "none"
    eval_every: int | None = None
    """Steps between evaluations; None = 10 of the run with a log, else none."""
    look: Callable[[Training], Iterable[Seen]] = nothing
    """Draws the views of an evaluation."""

    def due(self, step: int, steps: int) -> bool:
        """Whether an evaluation follows this step: the last one counts as due, as do the others by their number."""
        every = self.eval_every or (max(1, steps // EVALUATIONS) if self.log != "none" else None)
        return every is not None and (step % every == 0 or step == steps)

    @contextmanager
    def opened(self, run: Run, step: int) -> Iterator[Board]:
        """The board of a run that has done so many steps: what it told of later ones is told again."""
        writer = None if self.log == "none" else _writer(run, step)
        try:
            yield Board(run, self, writer)
        finally:
            if writer is not None:
                writer.close()


@dataclass(frozen=True)
class Board:
    """Where a step is told: events.jsonl, and TensorBoard's files where there is a writer."""

    run: Run
    watching: Watching
    writer: Any = None

    def told(self, step: int, gaussians: int, **values: Any) -> None:
        """An event of training."""
        self.run.event(step=step, **values)
        if self.writer is None:
            return
        scalars = {name: values[name] for name in ("loss", "psnr", "ms")} | {"gaussians": gaussians}
        scalars |= {f"terms/{name}": value for name, value in values["terms"].items()}
        self._scalars("train", scalars, step)

    def evaluate(self, training: Training) -> None:
        """Draws and measures the views, without gradients and without a change of torch's random numbers."""
        step, rows = training.step, {}
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for number, seen in enumerate(self.watching.look(training)):
                rows[seen.name] = dict(seen.figures)
                if self.writer is not None and number < PICTURES:
                    pair = [seen.picture] if seen.photo is None else [seen.picture, seen.photo.to(seen.picture)]
                    picture = (torch.cat(pair, 1).clamp(0, 1) * 255).round().byte().cpu().numpy()
                    self.writer.add_image(f"views/{seen.name}", picture, step, dataformats="HWC")
        mean = _means(rows.values())
        if mean:
            self.run.event(step=step, held_out=mean, views=rows)
        if self.writer is not None:
            self._scalars("held_out", mean, step)
            self.writer.flush()

    def _scalars(self, group: str, values: Mapping[str, float | None], step: int) -> None:
        for name, value in values.items():
            if value is not None and math.isfinite(value):
                self.writer.add_scalar(f"{group}/{name}", value, step)


def _means(rows: Iterable[Mapping[str, float | None]]) -> dict[str, float]:
    columns: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            if value is not None:
                columns.setdefault(name, []).append(value)
    return {name: sum(column) / len(column) for name, column in columns.items()}


def _writer(run: Run, step: int) -> Any:
    """TensorBoard is told to forget later steps than this one, which are done again."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingPart("--log tensorboard needs tensorboard: pip install tensorboard") from error
    return SummaryWriter(str(run.path / FOLDER), purge_step=step + 1)
