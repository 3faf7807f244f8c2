"""What a person sees while it works: a rich bar on a terminal, one line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Report(Protocol):
    def __call__(self, done: int, loss: float, psnr: float, gaussians: int, milliseconds: float) -> None: ...


@contextmanager
def training_bar(steps: int, first: int, quiet: bool) -> Iterator[Report]:
    """Loss, PSNR of the last view, Gaussians, ms a step and time left."""
    if quiet:
        yield lambda *_: None
    elif sys.stderr.isatty():
        yield from _rich_bar(steps, first)
    else:
        yield _LineReport(steps)


def _rich_bar(steps: int, first: int) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    fields = ["loss {0[loss]:.4f}", "PSNR {0[psnr]:.2f} dB", "{0[gaussians]:,} Gaussians", "{0[ms]:.0f} ms"]
    text = "  ".join(fields).replace("{0[", "{task.fields[")
    columns = [
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(text),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=steps, completed=first, loss=0.0, psnr=0.0, gaussians=0, ms=0.0)

        def report(done: int, loss: float, psnr: float, gaussians: int, milliseconds: float) -> None:
            progress.update(task, completed=done, loss=loss, psnr=psnr, gaussians=gaussians, ms=milliseconds)

        yield report


class _LineReport:
    """A line every ten seconds, for logs and pipes."""

    def __init__(self, steps: int):
        self.steps, self.last = steps, time.monotonic()

    def __call__(self, done: int, loss: float, psnr: float, gaussians: int, milliseconds: float) -> None:
        if time.monotonic() - self.last < 10 and done < self.steps:
            return
        self.last = time.monotonic()
        left = (self.steps - done) * milliseconds / 1000
        print(
            f"step {done}/{self.steps}  loss {loss:.4f}  PSNR {psnr:.2f} dB  {gaussians:,} Gaussians  "
            f"{milliseconds:.0f} ms/step  {left:.0f} s left",
            file=sys.stderr,
        )


def say(text: str, quiet: bool = False) -> None:
    """A line for the person, on stderr: stdout is for --json."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)
