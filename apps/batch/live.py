"""How a batch goes, while it goes: a table on a terminal, else a line for each job that begins or ends."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..runs.progress import say
from .worker import progress_of

if TYPE_CHECKING:
    from .engine import Engine

SHOWN = 20
"""Running jobs in the table."""
EVERY_SECONDS = 0.5


@contextmanager
def shown(engine: Engine) -> Iterator[Callable[[Engine], None]]:
    """What the engine calls in its loop."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        last = 0.0

        def show(engine: Engine) -> None:
            nonlocal last
            if time.monotonic() - last > EVERY_SECONDS:
                last = time.monotonic()
                live.update(_table(engine), refresh=True)

        yield show


class _Lines:
    def __init__(self) -> None:
        self.begun: dict[str, str] = {}

    def __call__(self, engine: Engine) -> None:
        for job_id in engine.handles:
            if job_id not in self.begun:
                self.begun[job_id] = "running"
                say(f"{engine.jobs[job_id].name}: begun")
        for job_id in [one for one in self.begun if one not in engine.handles]:
            del self.begun[job_id]
            status = engine.states[job_id]
            if status.state in ("done", "cancelled"):
                done = sum(engine.states[job.id].state == "done" for job in engine.chosen)
                count = f"{done}/{len(engine.chosen)}"
                say(f"{engine.jobs[job_id].name}: {status.state} in {status.seconds:.1f} s ({count})")


def _table(engine: Engine) -> Any:
    from rich.table import Table
    from rich.text import Text

    counts = Counter(engine.states[job.id].state for job in engine.chosen)
    words = ", ".join(f"{count} {state}" for state, count in counts.items())
    table = Table(title=Text(words + (f"; ending: {engine.stopped}" if engine.stopped else "")), expand=False)
    for name in ("job", "kind", "attempt", "stage", "done", "time"):
        table.add_column(name)
    for job_id in list(engine.handles)[:SHOWN]:
        job, status = engine.jobs[job_id], engine.states[job_id]
        stage, share = progress_of(engine.batch.path / job.out)
        done = "" if share is None else f"{share:.0%}"
        seconds = f"{time.time() - status.started:.0f} s"
        table.add_row(*map(Text, (job.name, job.kind, str(status.attempt + 1), stage, done, seconds)))
    if len(engine.handles) > SHOWN:
        table.add_row(Text(f"and {len(engine.handles) - SHOWN} more"))
    return table
