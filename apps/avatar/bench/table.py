"""Mean and standard deviation of figures over seeds, as a map and as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..protocols import Name

PROTOCOLS: tuple[Name, ...] = ("self_reenactment", "novel_view")
MASKS = ("full", "head", "face")
METRICS = ("psnr", "ssim", "lpips")


def mean_and_sd(values: Sequence[float]) -> dict[str, Any]:
    """The deviation is of a sample: over n - 1; null for one seed."""
    mean = sum(values) / len(values)
    sd = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else None
    return {"mean": round(mean, 4), "sd": None if sd is None else round(sd, 4), "seeds": len(values)}


def summary(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """From the results of each variant's seeds: protocol, mask, metric, mean and deviation."""
    out: dict[str, Any] = {}
    for variant, runs in results.items():
        row: dict[str, Any] = {}
        for protocol in PROTOCOLS:
            masks: dict[str, Any] = {}
            for mask in MASKS:
                found = [(run.get(protocol) or {}).get(mask) or {} for run in runs]
                metrics = {m: [f[m] for f in found if f.get(m) is not None] for m in METRICS}
                masks[mask] = {m: mean_and_sd(values) if values else None for m, values in metrics.items()}
            row[protocol] = masks
        row["gaussians"] = [run["gaussians"] for run in runs]
        row["training_seconds"] = [run["seconds"] for run in runs]
        out[variant] = row
    return out


def print_table(figures: Mapping[str, Any], title: str) -> None:
    """PSNR and SSIM of both protocols, and how far each variant is from the whole method in self-reenactment."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "variant", *(f"{p.replace('_', ' ')}, {m}" for p in PROTOCOLS for m in ("full", "face")), "to full", title=title
    )
    whole = (figures.get("full") or {}).get("self_reenactment")
    for variant, row in figures.items():
        cells = [_cell(row[p][m]) for p in PROTOCOLS for m in ("full", "face")]
        table.add_row(variant, *cells, _difference(row["self_reenactment"], whole))
    Console(width=170).print(table)


def _cell(metrics: Mapping[str, Any]) -> str:
    psnr, ssim = metrics["psnr"], metrics["ssim"]
    if psnr is None:
        return "n/a"
    sd = "" if psnr["sd"] is None else f" ± {psnr['sd']:.2f}"
    return f"{psnr['mean']:.2f}{sd} / {ssim['mean']:.4f}"


def _difference(row: Mapping[str, Any], whole: Mapping[str, Any] | None) -> str:
    if whole is None or row["full"]["psnr"] is None or whole["full"]["psnr"] is None:
        return "n/a"
    return f"{row['full']['psnr']['mean'] - whole['full']['psnr']['mean']:+.2f} dB"
