"""report.html of an edit, or of parts that were found: one page that loads nothing from outside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..look.report import read_json, read_json_lines, read_text, write_page
from ..look.report.charts import training_charts
from ..look.report.images import ERROR_FULL_SCALE, file_data_uri, jpeg_data_uri, read_rgb
from ..look.report.tables import duration, facts
from ..look.report.views import video_uri
from .job import Job

LINKS = (
    "edited.ply",
    "original_part.npz",
    "locality.json",
    "result.json",
    "before_after.png",
    "preview.png",
    "log.txt",
)
SHOWN_ELSEWHERE = ("stages", "parts", "anchors", "locality", "metrics", "model", "versions", "softness", "model_calls")


def write_report(job: Job) -> Path:
    run = job.run.path
    result = read_json(run / "result.json")
    what = "removed" if result.get("remove") else result.get("edit")
    edited = "part" in result
    return write_page(
        run / "report.html",
        "edit.html",
        {
            "title": f"{result['part']}: {what}" if edited else f"parts of {job.config.object}",
            "subtitle": f"{job.config.object} · {job.scene.source.name} · gs-reg edit report",
            "links": _links(run),
            "cards": _cards(result),
            "views": _views(run, job.scene.views.cameras.width / job.scene.views.cameras.height) if edited else [],
            "error_scale": f"{ERROR_FULL_SCALE * 255:.0f}/255",
            "anchors": _anchors(run, result.get("anchors") or {}),
            "prompt": (result.get("anchors") or {}).get("prompt"),
            "preview": file_data_uri(run / "preview.png"),
            "parts": [(n, f"{p['gaussians']:,}", f"{p['visible']:.1%}") for n, p in result["parts"].items()],
            "videos": _videos(run),
            "stages": [_stage(name, stage) for name, stage in result["stages"].items()],
            "charts": training_charts(read_json_lines(run / "events.jsonl")),
            "command": read_text(run / "command.txt"),
            "facts": _facts(result),
            "config": read_text(run / "config.yaml"),
        },
    )


def _links(run: Path) -> list[tuple[str, str]]:
    files = [run / name for name in LINKS] + sorted((run / "parts").glob("[!.]*.ply"))
    return [(quote(p.relative_to(run).as_posix()), p.relative_to(run).as_posix()) for p in files if p.is_file()]


def _cards(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Value, unit and name."""
    cards = []
    if locality := result.get("locality"):
        for name in ("changed", "removed", "added"):
            if locality[name]:
                cards.append((f"{locality[name]:,}", "", f"splats {name}"))
        cards += [
            ("0" if locality["intact"] else "SOME", "", f"of {locality['frozen']:,} others changed"),
        ]
        outside = (result.get("metrics") or {}).get("outside_the_mask")
        if outside:
            cards.append((f"{outside['share']:.2%}", "", "of the pixels outside the mask changed by more than 1/255"))
            cards.append((f"{outside['leakage']:.2%}", "", "of all change is outside the mask"))
    cards.append((*duration(result["seconds"]), "for all stages"))
    cards.append((f"{sum(result['model_calls'].values()):,}", "", "calls of the model"))
    return cards


def _views(run: Path, ratio: float) -> list[dict[str, Any]]:
    """The tiles of before_after.png: rows before, after, mask, difference."""
    names = read_json(run / "before_after.json")["views"]
    sheet = read_rgb(run / "before_after.png")
    height, width = sheet.shape[0] // 4, sheet.shape[1] // len(names)
    out = []
    for column, name in enumerate(names):
        tiles = [sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] for row in range(4)]
        before, after, mask, difference = map(jpeg_data_uri, tiles)
        view = {"name": name, "ratio": ratio, "before": before, "after": after}
        out.append(view | {"mask": mask, "difference": difference})
    return out


def _anchors(run: Path, anchors: Mapping[str, Any]) -> list[dict[str, str]]:
    out = []
    for name, entry in (anchors.get("views") or {}).items():
        words = "kept" if entry["kept"] else "left out"
        if entry["error"] is not None:
            words += f", differs from the first by {entry['error']:.3f} where both see the part"
        pictures = {k: file_data_uri(run / "anchors" / f"{name}_{k}.png") for k in ("before", "mask", "after")}
        out.append({"name": name, "figure": words, **pictures})
    return out


def _videos(run: Path) -> list[tuple[str, str | None, str]]:
    path = run / "turntable.mp4"
    return [(path.name, video_uri(path), path.name)] if path.is_file() else []


def _stage(name: str, stage: Mapping[str, Any]) -> tuple[str, str, str, str]:
    calls = ", ".join(f"{count:,} {purpose}" for purpose, count in stage["calls"].items()) or "none"
    peaks = ", ".join(f"{value:.2f} GB {kind.replace('_', ' ')}" for kind, value in stage["peak_gb"].items())
    return name, f"{stage['seconds']:.1f}", calls, peaks


def _facts(result: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    plain = {name: value for name, value in result.items() if name not in SHOWN_ELSEWHERE}
    groups = facts(plain, {}, result["versions"])
    for name in ("locality", "metrics"):
        groups += [(title if title != "run" else name, pairs) for title, pairs in facts(result.get(name) or {}, {}, {})]
    return groups
