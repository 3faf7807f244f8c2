"""`gs-reg bench cpu`: the CPU rasterizer by stage, beside lower bounds of this machine and plain scalar code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypedDict

import torch

from gs_reg import _ops
from gs_reg._ops.baselines import Rates, bare_loops, pair_counts
from gs_reg.cores import available_cores

from ..runs.progress import plural
from .memory import PeakMemory, peak_memory
from .scenes import expanded, make
from .stages import STAGES, Step, compare_with_scalar, floors, make_step, run_stages

TOLERANCE = 2e-3
"""Largest relative L2 difference between our results and those of the scalar algorithm, which rounds more coarsely."""
MAX_RATE_CHANGE = 0.1
"""Largest relative change of the bare loops' rates from before to after: more means that the machine was busy."""


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


class Row(TypedDict):
    """Times of one stage with one number of threads."""

    scene: str
    stage: str
    threads: int
    isa: str
    milliseconds: float
    """Median."""
    best_milliseconds: float
    floor_milliseconds: float | None
    """Lower bound on this machine."""
    baseline_milliseconds: float | None
    """Of the scalar algorithm."""


class MeasuredRates(TypedDict):
    """The rates of the bare loops, see Rates."""

    forward_pairs: float
    backward_pairs: float
    flops: float
    bytes: float
    steady: bool
    """Whether the machine was quiet enough for the times to be trusted."""
    moved: float
    """Largest relative change from before the measurement to after it."""


class SceneResult(TypedDict):
    scene: str
    digest: str
    gaussians: int
    width: int
    height: int
    visible: int
    intersections: int
    contributing_pairs_per_pixel: float
    pairs_per_pixel_4x4: float
    saturated_share: float
    rates: dict[int, MeasuredRates]
    """By number of threads."""
    memory: PeakMemory | None
    rows: list[Row]


def main(config: Config) -> int:
    names = expanded(config.scenes)
    cores = available_cores()
    threads = config.threads or tuple(sorted({1, min(2, cores), cores}))
    threads_before = torch.get_num_threads()
    results: list[SceneResult] = []
    try:
        for name in names:
            results.append(_bench_scene(name, threads, config.repeats))
            _print(results[-1])
    finally:
        torch.set_num_threads(threads_before)
    if config.json:
        scenes = [{key: value for key, value in result.items() if key != "rows"} for result in results]
        rows = [row for result in results for row in result["rows"]]
        config.json.write_text(json.dumps({"rows": rows, "scenes": scenes}, indent=2) + "\n")
    return 0


def _bench_scene(name: str, threads: tuple[int, ...], repeats: int) -> SceneResult:
    """Times and counts of a scene.

    Raises:
        FloatingPointError: image or gradients differ from those of the scalar algorithm.
    """
    step = make_step(make(name))
    projected = step.project()
    *_, state = step.rasterize(projected)
    visible, intersections = state[-1].tolist()
    counts = pair_counts(step.scalar_inputs(projected))
    rows: list[Row] = []
    rates: dict[int, MeasuredRates] = {}
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


def _bench_threads(step: Step, counts: dict[str, int], threads: int, repeats: int) -> tuple[list[Row], MeasuredRates]:
    rates_before = bare_loops()
    projected = step.project()
    baselines = []
    for _ in range(2):
        differences, seconds = compare_with_scalar(step, projected)
        worst = max(differences, key=differences.__getitem__)
        if not differences[worst] <= TOLERANCE:  # NaN fails too
            raise FloatingPointError(
                f"scene {step.scene.name}, {plural(threads, 'thread')}: {worst} of the scalar algorithm and of ours "
                f"differ by {differences[worst]:.1e} (relative L2, at most {TOLERANCE:g}): nothing was timed"
            )
        baselines.append(seconds | {"rasterizer": sum(seconds.values())})
    timed = run_stages(step, repeats, warm_up=min(3, repeats))
    rates_after = bare_loops()
    best = Rates(**{name: max(rate, getattr(rates_after, name)) for name, rate in vars(rates_before).items()})
    floor = floors(step, counts, best)
    rows: list[Row] = [
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
    change = _rate_change(rates_before, rates_after)
    return rows, MeasuredRates(**vars(best), steady=change <= MAX_RATE_CHANGE, moved=change)


def _rate_change(before: Rates, after: Rates) -> float:
    ratios = [getattr(after, name) / getattr(before, name) for name in vars(before)]
    return max(max(ratio, 1 / ratio) for ratio in ratios) - 1


def _print(result: SceneResult) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Column, Table

    counts = (
        f"{plural(result['gaussians'], 'Gaussian')}, {result['width']}x{result['height']}, "
        f"{result['visible']:,} visible, {result['intersections']:,} intersections; "
        f"pairs a pixel: {result['contributing_pairs_per_pixel']:.1f} "
        f"contribute, {result['pairs_per_pixel_4x4']:.1f} in 4x4 blocks; {result['saturated_share']:.1%} of the pixels "
        f"finish; arrays {result['digest']}"
    )
    heads = ("threads", "median", "best", "floor", "/ floor", "scalar", "scalar /")
    title = f"Scene {result['scene']}, {result['rows'][0]['isa']}, milliseconds"
    table = Table(
        Column("stage", no_wrap=True), *heads, title=title, caption=counts, box=SIMPLE, pad_edge=False, padding=0
    )
    for row in result["rows"]:
        best, floor, baseline = row["best_milliseconds"], row["floor_milliseconds"], row["baseline_milliseconds"]
        times = [_number(value) for value in (row["milliseconds"], best, floor)]
        over_floor, speedup = (floor and best / floor), (baseline and baseline / best)
        ratios = [_number(value) for value in (over_floor, baseline, speedup)]
        table.add_row(row["stage"], str(row["threads"]), *times, *ratios)
    console = Console()
    console.print(table)
    for threads, rates in result["rates"].items():
        console.print(_rates_line(threads, rates))
        best = {row["stage"]: row["best_milliseconds"] for row in result["rows"] if row["threads"] == threads}
        console.print(f"lift, threads: {threads}: {best['lift'] / best['rasterizer']:.0%} of forward + backward")
    if result["memory"]:
        peak, budget = result["memory"]["peak_bytes"] / 2**20, result["memory"]["budget_bytes"] / 2**20
        console.print(f"memory beyond inputs and outputs: {peak:.1f} MiB, allowed {budget:.1f} MiB\n")


def _rates_line(threads: int, rates: MeasuredRates) -> str:
    units = {"forward_pairs": "G pairs/s forward", "backward_pairs": "backward", "flops": "GFLOP/s", "bytes": "GB/s"}
    parts = [f"{rates[name] / 1e9:.3g} {unit}" for name, unit in units.items()]
    text = f"bare loops, threads: {threads}: {', '.join(parts)}"
    return text if rates["steady"] else f"{text}; [bold]moved by {rates['moved']:.0%}: run it again in a quiet hour[/]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"
