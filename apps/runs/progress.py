"""What a person sees while it works, on stderr as stdout is for --json: messages, and a bar on a terminal.

Messages are those of the logger `gs_reg`, so that the library's own warnings take the same way, also into log.txt.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Protocol

log = logging.getLogger("gs_reg")

SECONDS_A_LINE = 10


def say(text: str) -> None:
    """A line for the person."""
    log.info(text)


class _Screen(logging.Handler):
    """Looks stderr up at each message: a live bar replaces it, and tests do."""

    def emit(self, record: logging.LogRecord) -> None:
        mark = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        print(f"{mark}{record.getMessage()}", file=sys.stderr, flush=True)


class _File(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Silent: on a full disk the file that matters says so by itself."""


@contextmanager
def talking(level: int) -> Iterator[None]:
    """Shows messages from this level on, and keeps all from INFO on for a run that has no folder yet."""
    kept = MemoryHandler(capacity=1 << 30, flushLevel=logging.CRITICAL + 1)
    screen, before = _Screen(level), log.level
    log.setLevel(min(level, logging.INFO))
    log.addHandler(screen)
    log.addHandler(kept)
    try:
        yield
    finally:
        log.removeHandler(screen)
        log.removeHandler(kept)
        log.setLevel(before)


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Messages also go to the end of a file, first those that this command has said so far."""
    file = _File(path, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for kept in log.handlers:
        if isinstance(kept, MemoryHandler):
            for record in kept.buffer:
                file.handle(record)
    log.addHandler(file)
    try:
        yield
    finally:
        log.removeHandler(file)
        file.close()


def _talks() -> bool:
    return any(isinstance(handler, _Screen) and handler.level <= logging.INFO for handler in log.handlers)


class Report(Protocol):
    def __call__(self, done: int, loss: float, psnr: float, gaussians: int, milliseconds: float) -> None: ...


@contextmanager
def training_bar(steps: int, first: int) -> Iterator[Report]:
    """Loss, PSNR of the last view, Gaussians, ms a step and time left."""
    if _talks() and sys.stderr.isatty():
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
        if time.monotonic() - self.last < SECONDS_A_LINE and done < self.steps:
            return
        self.last = time.monotonic()
        left = (self.steps - done) * milliseconds / 1000
        say(
            f"step {done}/{self.steps}  loss {loss:.4f}  PSNR {psnr:.2f} dB  {gaussians:,} Gaussians  "
            f"{milliseconds:.0f} ms/step  {left:.0f} s left"
        )


@contextmanager
def stage_bar(title: str) -> Iterator[Callable[[str, float], None]]:
    """A bar for work that reports its stage and the share done; nothing where stderr is no terminal."""
    if not (_talks() and sys.stderr.isatty()):
        yield lambda stage, share: log.debug("%s: %s, %.0f%%", title, stage, 100 * share)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = [TextColumn(title), BarColumn(), TextColumn("{task.fields[stage]}"), TimeElapsedColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=1.0, stage="")
        yield lambda stage, share: progress.update(task, completed=share, stage=stage)
