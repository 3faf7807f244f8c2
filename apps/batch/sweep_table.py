"""Figures of many runs: mean and sample standard deviation over the seeds, then the mean over scenes."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from ..runs.results import named_as_today

FIGURES = "psnr", "ssim", "lpips", "psnr_seen", "ssim_seen", "coverage"
DECIMALS = {"psnr": 2, "psnr_seen": 2, "seconds": 0}
ALL = "all scenes"


def table_rows(results: Iterable[tuple[str, str, dict[str, Any] | None]]) -> list[dict[str, Any]]:
    """One row for each scene and variant that has finished runs, then one for each variant, over all its scenes.

    `results` are scene, variant and result.json of each run, None where it is not finished.
    """
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for scene, variant, result in results:
        if result is not None:
            grouped.setdefault((scene, variant), []).append(
                named_as_today(result["mean"]) | {"seconds": result["seconds"]}
            )
    rows = [
        {"scene": scene, "variant": variant, "seeds": len(runs), **_figures(runs)}
        for (scene, variant), runs in grouped.items()
    ]
    scenes = dict.fromkeys(scene for scene, _ in grouped)
    if len(scenes) < 2:
        return rows
    return rows + [_over_scenes(variant, rows) for variant in dict.fromkeys(variant for _, variant in grouped)]


def _figures(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation of each figure; None where no run has it, or only one."""
    out: dict[str, Any] = {}
    for name in (*FIGURES, "seconds"):
        values = [run[name] for run in runs if run.get(name) is not None]
        out[name] = statistics.fmean(values) if values else None
        out[f"{name}_std"] = statistics.stdev(values) if len(values) > 1 else None
    return out


def _over_scenes(variant: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    of_variant = [row for row in rows if row["variant"] == variant]
    no_deviations = {f"{name}_std": None for name in (*FIGURES, "seconds")}
    return {
        "scene": f"{ALL} ({len(of_variant)})",
        "variant": variant,
        "seeds": sum(row["seeds"] for row in of_variant),
        **_figures(of_variant),
        **no_deviations,  # scenes differ in difficulty: a deviation over them would say nothing
    }


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table, without the columns of figures that no run has."""
    names = [name for name in (*FIGURES, "seconds") if any(row[name] is not None for row in rows)]
    lines = ["| scene | variant | runs | " + " | ".join(name.replace("_", " ") for name in names) + " |"]
    lines.append("|---|---|---|" + "---|" * len(names))
    for row in rows:
        cells = [_cell(row[name], row[f"{name}_std"], DECIMALS.get(name, 3)) for name in names]
        lines.append(f"| {row['scene']} | {row['variant']} | {row['seeds']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(mean: float | None, std: float | None, decimals: int) -> str:
    if mean is None:
        return "n/a"
    return f"{mean:.{decimals}f}" + ("" if std is None else f" ± {std:.{decimals}f}")
