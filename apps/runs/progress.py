"""Messages and progress bars on stderr (stdout is for --json), and the log file of a run.

All messages go through the logger `gs_reg`, which the library uses for its warnings: they are shown and stored alike.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Protocol, TypeVar

from ..streams import discard
from .interrupts import reporting_to_parent

log = logging.getLogger("gs_reg")
T = TypeVar("T")

LOG_INTERVAL_SECONDS = 10
"""Between two lines of progress where stderr is no terminal."""


def say(text: str) -> None:
    """Shows one line to the user, at level INFO: on stderr unless -q is given, and in log.txt of the run."""
    log.info(text)


def plural(count: int, word: str) -> str:
    """The number with its word: 1 step, 2,000 steps."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


class _ConsoleHandler(logging.Handler):
    """Writes to what sys.stderr is at that moment: a live progress bar replaces it, and so does pytest."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        try:
            print(f"{prefix}{record.getMessage()}", file=sys.stderr, flush=True)
        except OSError:  # its reader is gone: no reason to end hours of work
            discard(sys.stderr)


class _LogFileHandler(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Says nothing: where the disk is full, writing the results fails too, with an error that names the file."""


@contextmanager
def console_logging(level: int) -> Iterator[None]:
    """Shows messages of this level and above, and keeps those of INFO and above for a log file that is opened later."""
    console, level_before = _ConsoleHandler(level), log.level
    buffer = MemoryHandler(capacity=1 << 30, flushLevel=logging.CRITICAL + 1)  # never flushed by itself
    log.setLevel(min(level, logging.INFO))
    log.addHandler(console)
    log.addHandler(buffer)
    try:
        yield
    finally:
        log.removeHandler(console)
        log.removeHandler(buffer)
        log.setLevel(level_before)


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Appends messages to a file too, beginning with those that this command has shown so far."""
    file = _LogFileHandler(path, encoding="utf-8", errors="backslashreplace")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for handler in log.handlers:
        if isinstance(handler, MemoryHandler):
            for record in handler.buffer:
                file.handle(record)
    log.addHandler(file)
    try:
        yield
    finally:
        log.removeHandler(file)
        file.close()


def _live_bars() -> bool:
    """Whether stderr is a terminal and messages of level INFO are shown on it."""
    shown = any(isinstance(handler, _ConsoleHandler) and handler.level <= logging.INFO for handler in log.handlers)
    return shown and sys.stderr.isatty()


class StepCallback(Protocol):
    """Called after every training step."""

    def __call__(self, done: int, loss: float, psnr: float, gaussians: int, milliseconds: float) -> None: ...


@contextmanager
def training_bar(steps: int, first: int) -> Iterator[StepCallback]:
    """Shows loss, PSNR of the last view, number of Gaussians, ms a step and the time left, from step `first` on."""
    if _live_bars():
        yield from _rich_bar(steps, first)
    else:
        yield _StepLogger(steps)


def _rich_bar(steps: int, first: int) -> Iterator[StepCallback]:
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


class _StepLogger:
    """A message every LOG_INTERVAL_SECONDS, where stderr is a file or a pipe."""

    def __init__(self, steps: int):
        self.steps, self.last = steps, time.monotonic()

    def __call__(self, done: int, loss: float, psnr: float, gaussians: int, milliseconds: float) -> None:
        if time.monotonic() - self.last < LOG_INTERVAL_SECONDS and done < self.steps:
            return
        self.last = time.monotonic()
        left = (self.steps - done) * milliseconds / 1000
        say(
            f"step {done}/{self.steps}  loss {loss:.4f}  PSNR {psnr:.2f} dB  {gaussians:,} Gaussians  "
            f"{milliseconds:.0f} ms/step  {left:.0f} s left"
        )


@contextmanager
def stage_bar(title: str) -> Iterator[Callable[[str, float], None]]:
    """A bar for work that reports the name of its stage and the share done, from 0 to 1; its clock moves by itself.

    Where stderr is no terminal, it becomes a message every LOG_INTERVAL_SECONDS at most; in a child of `run_child` the
    first one moves the parent's bar.
    """
    with reporting_to_parent() as report:
        if report is not None:
            yield report
            return
    if not _live_bars():
        yield _StageLogger(title)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = [
        SpinnerColumn(),
        TextColumn(title),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TextColumn("{task.fields[stage]}"),
        TimeElapsedColumn(),
    ]
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=1.0, stage="")
        yield lambda stage, share: progress.update(task, completed=share, stage=stage)


class _StageLogger:
    """A message every LOG_INTERVAL_SECONDS at most, where stderr is a file or a pipe."""

    def __init__(self, title: str):
        self.title, self.last = title, time.monotonic()

    def __call__(self, stage: str, share: float) -> None:
        if time.monotonic() - self.last >= LOG_INTERVAL_SECONDS and share < 1:
            self.last = time.monotonic()
            say(f"{self.title}: {stage}, {share:.0%}")


def counted(items: Sequence[T], progress: Callable[[str, float], None], stage: str) -> Iterator[T]:
    """The items, each reported as it is begun."""
    for number, item in enumerate(items):
        progress(f"{stage} {number + 1}/{len(items)}", number / len(items))
        yield item
