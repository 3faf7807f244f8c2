"""The report of a run: one HTML page that holds all its pictures and loads nothing from outside."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gs_reg.data_tools.photos.names import file_stems
from gs_reg.errors import InputError, reading
from gs_reg.io.atomic import atomic_path

from ...runs.results import DEPTH_OF_SPLATS, SEEN, named_as_today
from .charts import training_charts
from .images import ERROR_FULL_SCALE
from .tables import column_names, depth_rows, facts, headline_figures, notes, row
from .views import comparisons, depth_pairs, links, videos


def write_report(run_dir: str | Path) -> Path:
    """Writes `report.html` into the folder of a run and returns its path.

    The page shows what is there of result.json, events.jsonl, config.yaml, dataset.json, versions.json, command.txt;
    renders/test/<stem>.png with <stem>_photo.png, masks/<stem>.png (white = seen in training), renders/train/ alike,
    depths/<stem>.png with <stem>_trained.png, videos/*.mp4.

    Raises:
        InputError: no such folder, or a JSON file in it is broken.
    """
    run = Path(run_dir)
    if not run.is_dir():
        raise InputError(f"{run}: no such folder of a run")
    with reading(run):
        values = _template_values(run)
    return write_page(run / "report.html", "report.html", values)


def write_page(path: Path, template: str, values: Mapping[str, Any]) -> Path:
    """Writes a page from one of the templates in this folder and returns its path."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template).render(**values)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _template_values(run: Path) -> dict[str, Any]:
    """The variables of the template report.html."""
    result = named_as_today(read_json(run / "result.json"))
    views, dataset = result.get("views", {}), read_json(run / "dataset.json")
    stems = file_stems({*(photo["name"] for photo in dataset.get("photos", [])), *views})
    folder = run.resolve()
    dated = folder.name[:8].isdigit()  # runs/<name>/<time>, else the folder that --out named
    return {
        "title": folder.parent.name if dated else folder.name,
        "run": folder.name if dated else "",
        "cards": headline_figures(result),
        "columns": column_names(),
        "rows": [(name, row(figures)) for name, figures in views.items()],
        "mean_row": row(result["mean"]) if result.get("mean") else None,
        "notes": notes(result),
        "tests": comparisons(run / "renders" / "test", run / "masks", {stems[n]: f for n, f in views.items()}),
        "trains": comparisons(run / "renders" / "train", None, {}),
        "depths": depth_pairs(run / "depths"),
        "depth_rows": depth_rows(result.get("depth")),
        "videos": videos(run),
        "charts": training_charts(read_json_lines(run / "events.jsonl")),
        "seen": SEEN,
        "depth_of_splats": DEPTH_OF_SPLATS,
        "links": links(run),
        "error_scale": f"{ERROR_FULL_SCALE * 255:.0f}/255",
        "command": read_text(run / "command.txt"),
        "facts": facts(result, dataset, read_json(run / "versions.json")),
        "config": read_text(run / "config.yaml"),
    }


def read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""


def read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    with reading(path):
        data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a map, got {type(data).__name__}")
    return data


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The lines that are valid JSON: a run that was killed leaves half a line at the end."""
    events = []
    for line in read_text(path).splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            event = json.loads(line)
            if isinstance(event, dict):
                events.append(event)
    return events
