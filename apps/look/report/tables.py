"""Figures and settings of a run as text for the report, from the values of its JSON files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Metric:
    """A figure of a view in result.json, and how it is shown."""

    key: str
    name: str
    template: str
    unit: str = ""


METRICS = (
    Metric("psnr", "PSNR", "{:.2f}", "dB"),
    Metric("ssim", "SSIM", "{:.3f}"),
    Metric("psnr_seen", "PSNR, seen pixels", "{:.2f}", "dB"),
    Metric("ssim_seen", "SSIM, seen pixels", "{:.3f}"),
    Metric("lpips", "LPIPS", "{:.3f}"),
    Metric("coverage", "seen pixels", "{:.0%}"),
    Metric("unseen", "unseen", "{:.1%}"),
    Metric("needles", "needles", "{:.1%}"),
)
HEADLINE = METRICS[:4]
NOTES = {
    "background": "Behind the splats",
    "seen": "Seen",
    "unseen": "Unseen",
    "needles": "Needles",
    "lpips": "LPIPS",
}
"""Keys of result.json that say how its figures were measured."""
BEHIND = {"mean": "the photos' mean colour"}
"""Names of colours in `backgrounds` of result.json, where the key alone says too little."""


def headline_figures(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Value, unit and name of the figures on top of the page."""
    mean = result.get("mean") or {}
    cards = [
        (metric.template.format(mean[metric.key]), metric.unit, metric.name)
        for metric in HEADLINE
        if isinstance(mean.get(metric.key), int | float)
    ]
    if result.get("depth"):
        before, after = (100 * d["median_relative_error"] for d in (result["depth"]["initial"], result["depth"]))
        cards.append((f"{before:.2f}", "%", f"median error of the depth measured; {after:.2f} % as splats draw it"))
    if "gaussians" in result:
        cards.append((f"{result['gaussians']:,}", "", "Gaussians"))
    if "seconds" in result:
        cards.append((*duration(result["seconds"]), "until splats.ply"))
    return cards


def duration(seconds: float) -> tuple[str, str]:
    """Value and unit."""
    if seconds < 120:
        return f"{seconds:.0f}", "s"
    return (f"{seconds / 60:.1f}", "min") if seconds < 7200 else (f"{seconds / 3600:.1f}", "h")


def column_names() -> list[str]:
    return [metric.name for metric in METRICS]


def row(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """One cell for each metric, of one view or of the mean."""
    values = [(metric.template, figures.get(metric.key)) for metric in METRICS]
    return tuple(template.format(value) if isinstance(value, int | float) else "n/a" for template, value in values)


def notes(result: Mapping[str, Any]) -> list[str]:
    """What result.json says about how its figures were measured."""
    lines = [f"{name}: {result[key]}" for key, name in NOTES.items() if result.get(key)]
    over = [
        f"{BEHIND.get(name, name)} {figures['psnr']:.2f} dB, {figures['ssim']:.3f}"
        for name, figures in (result.get("backgrounds") or {}).items()
        if isinstance(figures.get("psnr"), int | float) and isinstance(figures.get("ssim"), int | float)
    ]
    return [*lines, f"The same views over {'; over '.join(over)}"] if over else lines


def depth_rows(depth: Mapping[str, Any] | None) -> list[tuple[str, str, str, str]]:
    """Errors against measured depth: when, median relative error, share within 5 %, measured pixels."""
    if not depth:
        return []
    return [
        (when, f"{errors['median_relative_error']:.2%}", f"{errors['within_5_percent']:.1%}", f"{depth['pixels']:,}")
        for when, errors in (("before training", depth["initial"]), ("after training", depth))
    ]


def facts(
    result: Mapping[str, Any], dataset: Mapping[str, Any], versions: Mapping[str, Any]
) -> list[tuple[str, list[tuple[str, str]]]]:
    """Groups of name and value; what the page shows elsewhere is left out."""
    groups = {
        "run": _without(result, "mean", "views", "depth", "backgrounds", *NOTES),
        "data": _without(dataset, "photos", "source_from_world"),
        "versions": versions,
    }
    return [
        (name, [(key.replace("_", " "), _one_line(value)) for key, value in group.items()])
        for name, group in groups.items()
        if group
    ]


def _without(values: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in keys}


def _one_line(value: object) -> str:
    """A value of a JSON file as one line of text."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_one_line(item)}" for key, item in value.items()) or "-"
    if isinstance(value, list):
        if value and all(isinstance(item, list | Mapping) for item in value):
            return "; ".join(_one_line(item) for item in value[:8]) + ("; ..." if len(value) > 8 else "")
        return ", ".join(_one_line(item) for item in value) or "-"
    return str(value)
