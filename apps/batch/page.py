"""report.html and report.csv of a batch: every job with its state, figures and pictures, or why it failed."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gs_reg.errors import InputError, reading
from gs_reg.io.atomic import atomic_path

from ..look.report import read_text, write_page
from ..look.report.tables import duration
from .batch import Batch
from .listing import Row, rows
from .lockfile import Job
from .outcomes import figures, pictures, words

MOST_PICTURED = 200
"""Jobs whose pictures the page holds; the others have a line in the table."""
CSV_COLUMNS = ("job", "id", "kind", "state", "attempts", "seconds", "peak_gb", "degraded", "error", "reason", "host")
PAGE, TABLE = "report.html", "report.csv"


def write_report(batch: Batch) -> Path:
    """Writes both files and returns the page."""
    found = rows(batch)
    outs = {job.id: batch.path / job.out for job in batch.lock.jobs}
    measured = {job.id: _figures(job, outs[job.id]) for job in batch.lock.jobs}
    _write_csv(batch.path / TABLE, found, measured)
    by_id, states = batch.by_id, {row["id"]: row["state"] for row in found}
    shown: list[dict[str, Any]] = []
    for row in found:
        job = by_id[row["id"]]
        entry = {**row, "figures": measured[job.id][1], "links": _links(batch, job), "pictures": []}
        waits = [by_id[need].name for need in job.needs if states[need] != "done"]
        entry["waits"] = ", ".join(waits) if row["state"] == "pending" else ""
        entry["time"] = " ".join(part for part in duration(row["seconds"]) if part) if row["seconds"] else ""
        if row["state"] == "done" and sum(bool(one["pictures"]) for one in shown) < MOST_PICTURED:
            entry["pictures"] = _pictures(job, outs[job.id])
        shown.append(entry)
    counts = Counter(row["state"] for row in found)
    values = {
        "title": f"batch {batch.path.resolve().name}",
        "subtitle": "gs-reg batch report",
        "links": [
            (quote(name), name) for name in ("jobs.yaml", "jobs.lock.json", TABLE) if (batch.path / name).is_file()
        ],
        "cards": _cards(found, counts),
        "failed": [row for row in shown if row["state"] == "failed"],
        "jobs": shown,
        "pictured": [row for row in shown if row["pictures"]],
        "stale": len(batch.lock.stale),
        "file": read_text(batch.path / "jobs.yaml"),
    }
    return write_page(batch.path / PAGE, "batch.html", values)


def _figures(job: Job, out: Path) -> tuple[dict[str, float], str]:
    """Figures, and in words; what is wrong with a broken result in their place."""
    try:
        found = figures(job.kind, out)
    except InputError as error:
        return {}, str(error)
    return found, words(found)


def _pictures(job: Job, out: Path) -> list[tuple[str, str]]:
    try:
        with reading(out):
            return pictures(job.kind, out)
    except InputError:  # its figures, in the table, are there all the same
        return []


def _links(batch: Batch, job: Job) -> list[tuple[str, str]]:
    """What there is to open of a job."""
    folder, out = f"jobs/{job.id}", batch.path / job.out
    files = [(f"{job.out}/report.html", "report"), (f"{folder}/log.txt", "log"), (job.out, "files")]
    targets = ("edited.ply", "splats.ply", "turntable.mp4", "videos/path.mp4")
    files += [(f"{job.out}/{name}", Path(name).name) for name in targets if (out / name).is_file()]
    return [(quote(path), name) for path, name in files if (batch.path / path).exists()]


def _cards(found: list[Row], counts: Counter) -> list[tuple[str, str, str]]:
    """Value, unit and name."""
    cards = [(str(counts["done"]), f"of {len(found)}", "jobs done")]
    cards += [
        (str(counts[state]), "", state) for state in ("failed", "running", "pending", "cancelled") if counts[state]
    ]
    cards.append((*duration(sum(row["seconds"] for row in found)), "of work in all jobs"))
    if peak := max((row["peak_gb"] for row in found), default=0):
        cards.append((f"{peak:.1f}", "GB", "largest memory of a job"))
    if again := sum(max(0, row["attempts"] - 1) for row in found):
        cards.append((str(again), "", "attempts beyond the first"))
    if degraded := sum(row["degraded"] for row in found):
        cards.append((str(degraded), "", "degraded: made with half the views or size"))
    return cards


def _write_csv(path: Path, found: list[Row], measured: dict[str, tuple[dict[str, float], str]]) -> None:
    named = list(dict.fromkeys(name for values, _ in measured.values() for name in values))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*CSV_COLUMNS, *named])
    for row in found:
        values = measured[row["id"]][0]
        writer.writerow([*(_cell(row[name]) for name in CSV_COLUMNS), *(values.get(name, "") for name in named)])
    with atomic_path(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", errors="surrogateescape")


def _cell(value: Any) -> Any:
    """A text that a table program would take for a formula is quoted."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value
