"""`gs-reg bench cpu`: the CPU rasterizer by stage, beside what the machine can do and beside plain scalar code."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from gs_reg import _ops
from gs_reg._ops import yardsticks
from gs_reg._ops.yardsticks import Rates

from .memory import peak_memory
from .scenes import expanded, make
from .stages import STAGES, Step, differences, floors, make_step, run_stages

AGREEMENT = 2e-3
"""Largest relative L2 difference between the scalar algorithm, whose arithmetic is rougher, and ours."""
STEADY = 0.1
"""The bare loops' rates before and after may differ by this share."""


@dataclass(frozen=True)
class Config:
    scenes: tuple[str, ...] = ("A", "C", "B", "F", "channels", "tiny")
    """A, B, B-morton, C, F, F-held-out, channels (A with 1 to 128 channels), tiny (needs no data)."""
    threads: tuple[int, ...] = ()
    """Numbers of threads; 1, 2 and all where none is named."""
    repeats: int = 15
    """Timed runs of ours; 3 more come first. The scalar algorithm runs twice and its best counts."""
    json: Path | None = None
    """File for the rows."""


def main(config: Config) -> int:
    names = expanded(config.scenes)
    every = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = config.threads or tuple(sorted({1, min(2, every), every}))
    before, found = torch.get_num_threads(), []
    try:
        for name in names:
            found.append(_bench_scene(name, threads, config.repeats))
            _show(found[-1])
    finally:
        torch.set_num_threads(before)
    if config.json:
        scenes = [{key: value for key, value in one.items() if key != "rows"} for one in found]
        rows = [row for one in found for row in one["rows"]]
        config.json.write_text(json.dumps({"rows": rows, "scenes": scenes}, indent=2) + "\n")
    return 0


def _bench_scene(name: str, threads: tuple[int, ...], repeats: int) -> dict:
    """Rows and counts of a scene.

    Raises:
        FloatingPointError: the scalar algorithm draws another image or has other gradients than ours.
    """
    step = make_step(make(name))
    projected = step.project()
    *_, state = step.rasterize(projected)
    visible, intersections = state[-1].tolist()
    counts = yardsticks.pair_counts(step.for_scalar(projected))
    rows, rates = [], {}
    for count in threads:
        torch.set_num_threads(count)
        measured, rates[count] = _bench_threads(step, counts, count, repeats)
        rows += measured
    pixels = step.size[0] * step.size[1]
    return {
        "scene": name,
        "digest": step.scene.digest,
        "gaussians": len(step.scene.means),
        "width": step.size[0],
        "height": step.size[1],
        "visible": visible,
        "intersections": intersections,
        "contributing_pairs_per_pixel": counts["contributing"] / pixels,
        "pairs_per_pixel_4x4": counts["evaluated"] / pixels,
        "saturated_share": counts["saturated"] / pixels,
        "rates": rates,
        "memory": peak_memory(name),
        "rows": rows,
    }


def _bench_threads(step: Step, counts: dict[str, int], threads: int, repeats: int) -> tuple[list[dict], dict]:
    rates = [yardsticks.bare_loops()]
    projected = step.project()
    baselines = []
    for _ in range(2):
        far_apart, seconds = differences(step, projected)
        worst = max(far_apart, key=far_apart.__getitem__)
        if not far_apart[worst] <= AGREEMENT:
            raise FloatingPointError(
                f"scene {step.scene.name}, {threads} threads: {worst} of the scalar algorithm and of ours differ by "
                f"{far_apart[worst]:.1e} (relative L2, at most {AGREEMENT:g}): nothing was timed"
            )
        baselines.append(seconds | {"rasterizer": sum(seconds.values())})
    timed = run_stages(step, repeats, warm_up=min(3, repeats))
    rates.append(yardsticks.bare_loops())
    best = Rates(**{name: max(getattr(r, name) for r in rates) for name in vars(rates[0])})
    floor = floors(step, counts, best)
    rows = [
        {
            "scene": step.scene.name,
            "stage": stage,
            "threads": threads,
            "isa": _ops.native_info()["isa"],
            "milliseconds": 1e3 * median(timed[stage]),
            "best_milliseconds": 1e3 * min(timed[stage]),
            "floor_milliseconds": 1e3 * floor[stage] if stage in floor else None,
            "baseline_milliseconds": 1e3 * min(b[stage] for b in baselines) if stage in baselines[0] else None,
        }
        for stage in STAGES
        if stage in timed
    ]
    return rows, vars(best) | {"steady": _moved(*rates) <= STEADY, "moved": _moved(*rates)}


def _moved(before: Rates, after: Rates) -> float:
    ratios = [getattr(after, name) / getattr(before, name) for name in vars(before)]
    return max(max(ratio, 1 / ratio) for ratio in ratios) - 1


def _show(found: dict) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Column, Table

    counts = (
        f"{found['gaussians']:,} Gaussians, {found['width']}x{found['height']}, {found['visible']:,} visible, "
        f"{found['intersections']:,} intersections; pairs a pixel: {found['contributing_pairs_per_pixel']:.1f} "
        f"contribute, {found['pairs_per_pixel_4x4']:.1f} in 4x4 blocks; {found['saturated_share']:.1%} of the pixels "
        f"finish; arrays {found['digest']}"
    )
    heads = ("threads", "median", "best", "floor", "/ floor", "scalar", "scalar /")
    title = f"Scene {found['scene']}, {found['rows'][0]['isa']}, milliseconds"
    table = Table(
        Column("stage", no_wrap=True), *heads, title=title, caption=counts, box=SIMPLE, pad_edge=False, padding=0
    )
    for row in found["rows"]:
        best, floor, baseline = (row[f"{kind}_milliseconds"] for kind in ("best", "floor", "baseline"))
        times = [_number(value) for value in (row["milliseconds"], best, floor)]
        over, gain = (floor and best / floor), (baseline and baseline / best)
        table.add_row(row["stage"], str(row["threads"]), *times, _number(over), _number(baseline), _number(gain))
    console = Console()
    console.print(table)
    for threads, rates in found["rates"].items():
        console.print(_rates_in_words(threads, rates))
        best = {row["stage"]: row["best_milliseconds"] for row in found["rows"] if row["threads"] == threads}
        console.print(f"lift, threads: {threads}: {best['lift'] / best['rasterizer']:.0%} of forward + backward")
    if found["memory"]:
        peak, budget = (found["memory"][key] / 2**20 for key in ("peak_bytes", "budget_bytes"))
        console.print(f"memory beyond inputs and outputs: {peak:.1f} MiB, allowed {budget:.1f} MiB\n")


def _rates_in_words(threads: int, rates: dict) -> str:
    units = {"forward_pairs": "G pairs/s forward", "backward_pairs": "backward", "flops": "GFLOP/s", "bytes": "GB/s"}
    parts = [f"{rates[name] / 1e9:.3g} {unit}" for name, unit in units.items()]
    text = f"bare loops, threads: {threads}: {', '.join(parts)}"
    return text if rates["steady"] else f"{text}; [bold]moved by {rates['moved']:.0%}: run it again in a quiet hour[/]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"
