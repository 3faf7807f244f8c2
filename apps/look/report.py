"""The report of a run: one HTML page that holds everything and asks for nothing from outside."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gs_reg.errors import InputError
from gs_reg.io.atomic import atomic_path

from .charts import Chart, Series, line_chart
from .embed import ERROR_FULL_SCALE, array_uri, error_picture, picture_uri, read_pixels

MAX_VIDEO_BYTES = 12_000_000
FIGURES = (
    ("psnr", "PSNR", "{:.2f}", "dB"),
    ("ssim", "SSIM", "{:.3f}", ""),
    ("psnr_visible", "PSNR, seen pixels", "{:.2f}", "dB"),
    ("ssim_visible", "SSIM, seen pixels", "{:.3f}", ""),
    ("lpips", "LPIPS", "{:.3f}", ""),
    ("coverage", "seen pixels", "{:.0%}", ""),
    ("unseen", "unseen", "{:.1%}", ""),
)


@dataclass(frozen=True)
class Comparison:
    """A view with its photo; all pictures are data URIs."""

    name: str
    ratio: float
    """Width over height."""
    render: str
    photo: str | None
    error: str | None
    figures: tuple[str, ...]


@dataclass(frozen=True)
class DepthPair:
    name: str
    initial: str
    trained: str | None


def write_report(run_dir: str | Path) -> Path:
    """Writes `report.html` into the folder of a run and returns its path.

    Shown as far as it is there: result.json, events.jsonl, config.yaml, dataset.json, versions.json,
    command.txt; renders/test/<stem>.png with <stem>_photo.png, masks/<stem>.png (white = seen in training),
    renders/train/ alike, depths/<stem>.png with <stem>_trained.png, videos/*.mp4.

    Raises:
        InputError: no such folder, or a JSON file in it is broken.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    run = Path(run_dir)
    if not run.is_dir():
        raise InputError(f"{run}: no such folder of a run")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(**gather(run))
    with atomic_path(run / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    return run / "report.html"


def gather(run: Path) -> dict[str, Any]:
    """All that the template shows."""
    result = _json(run / "result.json")
    views = result.get("views", {})
    folder = run.resolve()
    dated = folder.name[:8].isdigit()
    return {
        "title": folder.parent.name if dated else folder.name,
        "run": folder.name if dated else "",
        "cards": _cards(result),
        "columns": [name for _, name, _, _ in FIGURES],
        "rows": [(name, _row(figures)) for name, figures in views.items()],
        "mean_row": _row(result["mean"]) if result.get("mean") else None,
        "notes": [
            f"{name}: {result[key]}"
            for key, name in (("visible", "Seen"), ("unseen", "Unseen"), ("lpips", "LPIPS"))
            if result.get(key)
        ],
        "tests": _comparisons(run / "renders" / "test", run / "masks", {Path(n).stem: f for n, f in views.items()}),
        "trains": _comparisons(run / "renders" / "train", run / "none", {}),
        "depths": _depths(run / "depths"),
        "depth_rows": _depth_rows(result.get("depth")),
        "videos": _videos(run),
        "charts": _charts(run / "events.jsonl"),
        "error_scale": f"{ERROR_FULL_SCALE * 255:.0f}/255",
        "command": _text(run / "command.txt"),
        "facts": _facts(run, result),
        "config": _text(run / "config.yaml"),
    }


def _cards(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Value, unit and name of the headline figures."""
    mean = result.get("mean") or {}
    cards = [
        (text.format(mean[key]), unit, name)
        for key, name, text, unit in FIGURES[:4]
        if isinstance(mean.get(key), int | float)
    ]
    if result.get("depth"):
        cards.append((f"{100 * result['depth']['median_relative_error']:.2f}", "%", "median error of depth"))
    if "gaussians" in result:
        cards.append((f"{result['gaussians']:,}", "", "Gaussians"))
    if "seconds" in result:
        cards.append((*_duration(result["seconds"]), "until splats.ply"))
    return cards


def _duration(seconds: float) -> tuple[str, str]:
    if seconds < 120:
        return f"{seconds:.0f}", "s"
    return (f"{seconds / 60:.1f}", "min") if seconds < 7200 else (f"{seconds / 3600:.1f}", "h")


def _row(figures: Mapping[str, Any]) -> tuple[str, ...]:
    def cell(key: str, text: str) -> str:
        value = figures.get(key)
        return text.format(value) if isinstance(value, int | float) else "n/a"

    return tuple(cell(key, text) for key, _, text, _ in FIGURES)


def _comparisons(folder: Path, masks: Path, figures: Mapping[str, Mapping[str, Any]]) -> list[Comparison]:
    out = []
    for path in sorted(folder.glob("*.png")):
        if path.stem.endswith(("_photo", "_depth")):
            continue
        render, photo_path, mask_path = read_pixels(path), folder / f"{path.stem}_photo.png", masks / path.name
        photo = read_pixels(photo_path) if photo_path.is_file() else None
        error = None
        if photo is not None and photo.shape == render.shape:
            seen = read_pixels(mask_path)[..., 0] > 127 if mask_path.is_file() else None
            error = array_uri(error_picture(render, photo, seen))
        row = figures.get(path.stem, {})
        words = [f"{row[k]:.2f} dB" if k == "psnr" else f"SSIM {row[k]:.3f}" for k in ("psnr", "ssim") if row.get(k)]
        out.append(
            Comparison(
                path.stem,
                render.shape[1] / render.shape[0],
                array_uri(render),
                None if photo is None else array_uri(photo),
                error,
                tuple(words),
            )
        )
    return out


def _depths(folder: Path) -> list[DepthPair]:
    """Depth maps before training, each with the one that the finished splats draw."""
    pairs = []
    for path in sorted(folder.glob("*.png")):
        if not path.stem.endswith("_trained"):
            after = folder / f"{path.stem}_trained.png"
            pairs.append(DepthPair(path.stem, picture_uri(path), picture_uri(after) if after.is_file() else None))
    return pairs


def _depth_rows(depth: Mapping[str, Any] | None) -> list[tuple[str, str, str, str]]:
    """Against measured depth: when, median relative error, share within 5 %, measured pixels."""
    if not depth:
        return []
    return [
        (when, f"{row['median_relative_error']:.2%}", f"{row['within_5_percent']:.1%}", f"{depth['pixels']:,}")
        for when, row in (("before training", depth["initial"]), ("after training", depth))
    ]


def _videos(run: Path) -> list[tuple[str, str | None]]:
    """Name and data URI; None where the file is too large to be put into the page."""
    out = []
    for path in sorted((run / "videos").glob("*.mp4")):
        small = path.stat().st_size <= MAX_VIDEO_BYTES
        uri = "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode() if small else None
        out.append((f"videos/{path.name}", uri))
    return out


def _charts(path: Path) -> list[Chart]:
    """Loss with its terms, and PSNR of the training view, over steps."""
    events = [event for event in _json_lines(path) if "step" in event]
    steps = [event["step"] for event in events]

    def column(name: str, values: list[Any]) -> Series:
        pairs = [(s, v) for s, v in zip(steps, values, strict=True) if isinstance(v, int | float)]
        return Series(name, [s for s, _ in pairs], [v for _, v in pairs])

    names = list(dict.fromkeys(name for event in events for name in event.get("terms", {})))
    terms = [column(name, [event.get("terms", {}).get(name) for event in events]) for name in names]
    charts = [
        line_chart("loss", [column("total", [event.get("loss") for event in events]), *terms]),
        line_chart("PSNR of the training view (dB)", [column("PSNR", [event.get("psnr") for event in events])]),
    ]
    return [chart for chart in charts if chart]


def _facts(run: Path, result: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Groups of name and value."""

    def without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
        return {key: value for key, value in values.items() if key not in names}

    groups = {
        "run": without(result, "mean", "views", "lpips", "visible", "depth"),
        "data": without(_json(run / "dataset.json"), "photos", "source_from_world"),
        "versions": _json(run / "versions.json"),
    }
    return [
        (name, [(key.replace("_", " "), _plain(value)) for key, value in group.items()])
        for name, group in groups.items()
        if group
    ]


def _plain(value: Any) -> str:
    """One line of text for a value of a JSON file."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(item)}" for key, item in value.items()) or "-"
    if isinstance(value, list):
        if value and all(isinstance(item, list | Mapping) for item in value):
            return "; ".join(_plain(item) for item in value[:8]) + ("; ..." if len(value) > 8 else "")
        return ", ".join(_plain(item) for item in value) or "-"
    return str(value)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not valid JSON: {error}") from error


def _json_lines(path: Path) -> list[dict[str, Any]]:
    """Events; a last line that a killed run left unfinished is passed over."""
    events = []
    for line in _text(path).splitlines():
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return events
