"""The jobs of a batch as rows: what they are, how they stand, what they took."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .batch import Batch
from .lockfile import Job
from .states import Status

Row = dict[str, Any]


def rows(batch: Batch) -> list[Row]:
    """One for each job, in the order of the file."""
    return [_row(batch, job, batch.status(job)) for job in batch.lock.jobs]


def _row(batch: Batch, job: Job, status: Status) -> Row:
    silent = time.time() - status.heartbeat
    return {
        "job": job.name,
        "id": job.id,
        "kind": job.kind,
        "state": status.state,
        "attempts": status.attempt,
        "stage": status.stage,
        "progress": status.progress,
        "seconds": status.seconds,
        "peak_gb": status.peak_gb,
        "degraded": status.degraded,
        "error": status.error if status.state == "failed" else "",
        "reason": status.reason if status.state == "failed" else "",
        "host": status.host,
        "silent_seconds": round(silent, 1) if status.state == "running" else None,
        "out": str(batch.path / job.out),
    }


def print_status(batch: Batch) -> None:
    """A table of all jobs on stdout."""
    found = rows(batch)
    counts = Counter(row["state"] for row in found)
    cells = [
        (row["job"], row["kind"], row["state"], str(row["attempts"]), _done(row), _time(row), row["reason"])
        for row in found
    ]
    _print(("job", "kind", "state", "attempts", "done", "seconds", "reason"), cells)
    print(", ".join(f"{count} {state}" for state, count in counts.items()) + f" of {len(found)}")
    if batch.lock.stale:
        print(f"{len(batch.lock.stale)} stale, of earlier inputs or settings")


def print_plan(batch: Batch) -> None:
    """A table of the jobs: inputs, needs, and what those of their kind have taken so far in this batch."""
    found = rows(batch)
    by_kind: dict[str, list[float]] = {}
    for row in found:
        if row["state"] == "done":
            by_kind.setdefault(row["kind"], []).append(row["seconds"])
    names = {job.id: job.name for job in batch.lock.jobs}
    cells, total, known = [], 0.0, True
    for job, row in zip(batch.lock.jobs, found, strict=True):
        took = by_kind.get(job.kind)
        estimate = "done" if row["state"] == "done" else f"{sum(took) / len(took):.0f} s" if took else _limit(job)
        if row["state"] != "done":
            total, known = total + (sum(took) / len(took) if took else 0), known and bool(took)
        needs = ", ".join(names[need] for need in job.needs)
        size = f"{job.bytes / 1e6:.1f} MB"
        cells.append((job.id, job.kind, size, f"{job.resources.memory_gb:g} GB", estimate, needs))
    _print(("job", "kind", "inputs", "memory", "estimate", "needs"), cells)
    print(
        f"{len(cells)} jobs; "
        + (f"{total:.0f} s of work left" if known else "no job of each kind is done yet: no estimate")
    )


def _limit(job: Job) -> str:
    return "?" if job.resources.minutes is None else f"< {job.resources.minutes:g} min"


def _done(row: Row) -> str:
    return "" if row["progress"] is None else f"{row['progress']:.0%}"


def _time(row: Row) -> str:
    return f"{row['seconds']:.0f}" if row["seconds"] else ""


def _print(head: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    columns = list(zip(head, *cells, strict=True))
    widths = [min(60, max(map(len, column))) for column in columns]
    for line in (head, *cells):
        shown = "  ".join(_printable(cell)[:300].ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write(shown.rstrip() + "\n")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
