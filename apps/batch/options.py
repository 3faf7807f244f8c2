"""How a batch is run: what `run` was told, and `resume` and `retry` take from batch.json."""

from __future__ import annotations

import errno
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gs_reg.errors import InputError, reading

from ..runs.config_file import from_plain
from ..runs.interrupts import Interrupted
from ..runs.progress import plural, say
from .batch import Batch
from .engine import Engine, with_needs
from .executors import Name, open_executor
from .executors.on_ray import check_address
from .listing import rows
from .live import shown
from .lockfile import Job
from .page import write_report
from .states import Status


@dataclass(frozen=True)
class Options:
    executor: Name = "local"
    workers: int | None = None
    address: str | None = None

    @property
    def plain(self) -> dict[str, Any]:
        return {"executor": self.executor, "workers": self.workers, "address": self.address}


def stored_options(path: Path) -> Options:
    """Those with which the batch was begun."""
    file = path / "batch.json"
    if not file.is_file():
        return Options()
    with reading(file):
        values: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return from_plain(Options, {k: values[k] for k in ("executor", "workers", "address")}, str(file))


def check_options(options: Options) -> None:
    """Raises InputError where there can be no workers, or no executor at such an address."""
    if options.workers is not None and options.workers < 1:
        raise InputError(f"--workers: expected at least 1, got {options.workers}")
    if options.executor == "local" and options.address is not None:
        raise InputError("--address: no effect: --executor local runs on this machine; use ray or slurm")
    if options.executor == "ray" and options.address is not None:
        check_address(options.address)
    if options.executor == "slurm" and options.address not in (None, "local"):
        raise InputError(f"--address {options.address}: expected `local` with --executor slurm, or nothing")


def run_engine(batch: Batch, chosen: Sequence[Job], options: Options) -> tuple[Engine, Sequence[Status]]:
    """Runs jobs with what they need; returns how they stand.

    Raises:
        InputError: a job needs what there is not, or the options are wrong.
    """
    chosen = with_needs(batch, chosen)
    check_options(options)
    executor = open_executor(options.executor, options.workers, options.address, batch.path)
    try:
        for job in chosen:
            if refusal := executor.refusal(job.resources, batch.gpus(job, executor)):
                raise InputError(f"{batch.path}: {job.name}: {refusal}")
        say(f"into {batch.path}, {plural(executor.workers, 'job')} at a time ({options.executor})")
        engine = Engine(batch, executor, chosen)
        with shown(engine) as engine.show:
            states = engine.run()
    finally:
        executor.close()
    counts = Counter(status.state for status in states)
    say(", ".join(f"{counts[state]} {state}" for state in counts) or "no jobs")
    return engine, states


def raise_if_stopped(engine: Engine, how: str) -> None:
    """Raises what ended the engine before its jobs were over; `how` to continue."""
    if engine.signal is not None:
        raise Interrupted(engine.signal, f"jobs are saved; continue with {how}")
    if engine.stopped:
        raise OSError(errno.ENOSPC, engine.stopped, str(engine.batch.path))


def start(batch: Batch, chosen: Sequence[Job], options: Options, as_json: bool) -> int:
    """Runs jobs with what they need, and writes the report; returns the exit code."""
    engine, states = run_engine(batch, chosen, options)
    say(f"wrote {write_report(batch)}")
    if as_json:
        print(json.dumps(rows(batch)))
    raise_if_stopped(engine, f"gs-reg batch resume {batch.path}")
    return 0 if all(status.state == "done" for status in states) else 1
