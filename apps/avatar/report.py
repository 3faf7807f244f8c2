"""report.html of a training: one page that loads nothing from outside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..look.report import read_json, read_json_lines, read_text, write_page
from ..look.report.charts import training_charts
from ..look.report.images import ERROR_FULL_SCALE, error_map, file_data_uri, jpeg_data_uri, read_rgb
from ..look.report.tables import duration, facts
from ..look.report.views import video_uri
from ..runs.folder import Run
from .results import PROTOCOLS

LINKS = ("avatar/avatar.safetensors", "avatar/avatar.json", "result.json", "distill_report.json", "log.txt")
TITLES = {
    "self_reenactment": "Self-reenactment: a sequence that was never trained on",
    "novel_view": "Novel views: cameras that were never trained on",
}
SHOWN_ELSEWHERE = (*PROTOCOLS, "protocols", "distil", "stages", "training_stages", "versions", "seconds", "gaussians")


def write_report(run: Run) -> Path:
    path = run.path
    result, dataset = read_json(path / "result.json"), read_json(path / "dataset.json")
    files = [name for name in LINKS if (path / name).is_file()]
    videos = sorted((path / "videos").glob("[!.]*.mp4"))
    files += [p.relative_to(path).as_posix() for p in videos]
    return write_page(
        path / "report.html",
        "avatar.html",
        {
            "title": Path(dataset["folder"]).name,
            "subtitle": f"avatar of prior {dataset['prior']} · {result['method']} · gs-reg avatar report",
            "links": [(quote(name), name) for name in files],
            "cards": _cards(result),
            "protocols": [_protocol(path, name, result) for name in PROTOCOLS if result.get(name)],
            "error_scale": f"{ERROR_FULL_SCALE * 255:.0f}/255",
            "videos": [(p.name, video_uri(p), f"videos/{quote(p.name)}") for p in videos],
            "distil": distil_rows(result.get("distil")),
            "missed": "; ".join((result.get("distil") or {}).get("failures", ())),
            "stages": _stages(result),
            "charts": training_charts(read_json_lines(path / "events.jsonl")),
            "command": read_text(path / "command.txt"),
            "facts": facts({k: v for k, v in result.items() if k not in SHOWN_ELSEWHERE}, dataset, result["versions"]),
            "config": read_text(path / "config.yaml"),
        },
    )


def _cards(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Value, unit and name."""
    cards = []
    for name, words in (("self_reenactment", "self-reenactment"), ("novel_view", "novel views")):
        figures = result.get(name) or {}
        for mask in ("full", "face"):
            if (figures.get(mask) or {}).get("psnr") is not None:
                cards.append((f"{figures[mask]['psnr']:.2f}", "dB", f"{words}, {mask}"))
    cards.append((f"{result['gaussians']:,}", "", "Gaussians"))
    cards.append((f"{result['frames_per_second']:.1f}", "", "driven frames a second here"))
    cards.append((*duration(result["seconds"]), "for all stages"))
    return cards


def _protocol(run: Path, name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    figures = result[name]
    masks = {mask: figures[mask] for mask in ("full", "head", "face")} | dict(figures["regions"])
    return {
        "title": TITLES[name],
        "line": result["protocols"][name],
        "rows": [(mask, *_cells(values)) for mask, values in masks.items()],
        "jitter": figures.get("jitter_mm"),
        "views": _views(run, name),
    }


def _cells(values: Mapping[str, Any]) -> tuple[str, ...]:
    texts = {"psnr": "{:.2f}", "psnr_pooled": "{:.2f}", "ssim": "{:.4f}", "lpips": "{:.4f}", "images": "{}"}
    return tuple("n/a" if values.get(key) is None else text.format(values[key]) for key, text in texts.items())


def _views(run: Path, name: str) -> list[dict[str, Any]]:
    """Photo, avatar before and after training, and the difference, of some frames."""
    out = []
    for path in sorted((run / "renders" / name).glob("[!.]*_photo.png")):
        stem = path.stem.removesuffix("_photo")
        photo, after = read_rgb(path), read_rgb(path.with_name(f"{stem}.png"))
        before = run / "renders" / "start" / name / f"{stem}.png"
        out.append(
            {
                "name": stem.replace("_", " "),
                "ratio": photo.shape[1] / photo.shape[0],
                "photo": jpeg_data_uri(photo),
                "after": jpeg_data_uri(after),
                "before": file_data_uri(before) if before.is_file() else None,
                "difference": jpeg_data_uri(error_map(after, photo)),
            }
        )
    return out


def _stages(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for name, stage in result["stages"].items():
        peaks = ", ".join(f"{value:.2f} GB {kind.replace('_', ' ')}" for kind, value in stage["peak_gb"].items())
        rows.append((name, f"{stage['seconds']:.1f}", peaks))
        if name == "training":
            rows += [(f"· {inner}", f"{seconds:.1f}", "") for inner, seconds in result["training_stages"].items()]
    return rows


def distil_rows(report: Mapping[str, Any] | None) -> list[tuple[str, ...]]:
    """Errors of the distilled field in millimetres: codes, region, mean, 95 %, largest."""
    rows: list[tuple[str, ...]] = []
    for codes, regions in ((report or {}).get("errors") or {}).items():
        for region, values in regions.items():
            rows.append((codes, region, *(f"{values[key]:.3f}" for key in ("mean", "p95", "max"))))
    return rows
