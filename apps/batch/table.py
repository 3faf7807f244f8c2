"""Figures of many runs: mean and sample deviation over the seeds, then the mean over scenes."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

FIGURES = "psnr", "ssim", "lpips", "psnr_visible", "ssim_visible", "coverage"
PLACES = {"psnr": 2, "psnr_visible": 2, "seconds": 0}
ALL = "all scenes"


def rows_of(results: Iterable[tuple[str, str, dict[str, Any] | None]]) -> list[dict[str, Any]]:
    """A row for each scene and variant that has runs, then one a variant over all scenes that it has been run on."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for scene, variant, result in results:
        if result is not None:
            grouped.setdefault((scene, variant), []).append(result["mean"] | {"seconds": result["seconds"]})
    rows = [
        {"scene": scene, "variant": variant, "seeds": len(runs), **_figures(runs)}
        for (scene, variant), runs in grouped.items()
    ]
    scenes = dict.fromkeys(scene for scene, _ in grouped)
    if len(scenes) < 2:
        return rows
    return rows + [_over_scenes(variant, rows) for variant in dict.fromkeys(variant for _, variant in grouped)]


def _figures(runs: list[dict[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in (*FIGURES, "seconds"):
        values = [run[name] for run in runs if run.get(name) is not None]
        out[name] = statistics.fmean(values) if values else None
        out[f"{name}_std"] = statistics.stdev(values) if len(values) > 1 else None
    return out


def _over_scenes(variant: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    own = [row for row in rows if row["variant"] == variant]
    means = _figures(own)
    spread = {f"{name}_std": None for name in (*FIGURES, "seconds")}
    return {
        "scene": f"{ALL} ({len(own)})",
        "variant": variant,
        "seeds": sum(row["seeds"] for row in own),
        **means,
    } | spread


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table; figures of a kind that no run has are left out."""
    names = [name for name in (*FIGURES, "seconds") if any(row[name] is not None for row in rows)]
    lines = ["| scene | variant | runs | " + " | ".join(name.replace("_", " ") for name in names) + " |"]
    lines.append("|---|---|---|" + "---|" * len(names))
    for row in rows:
        cells = [_cell(row[name], row[f"{name}_std"], PLACES.get(name, 3)) for name in names]
        lines.append(f"| {row['scene']} | {row['variant']} | {row['seeds']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(mean: float | None, std: float | None, places: int) -> str:
    if mean is None:
        return "n/a"
    return f"{mean:.{places}f}" + ("" if std is None else f" ± {std:.{places}f}")
