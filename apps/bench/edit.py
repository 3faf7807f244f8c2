"""`gs-reg bench edit`: fits of the part labels by each solver, and steps of an edit, beside what they may take."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TypedDict

import torch

from gs_reg import _ops
from gs_reg.data_tools.synthetic.objects.cameras import orbit
from gs_reg.diffusion.sds import sds_loss
from gs_reg.fit import FitConfig, fit
from gs_reg.models.part_edit import PartEdit
from gs_reg.optim import OptimConfig
from gs_reg.parts.adam import AdamConfig
from gs_reg.parts.decision import decide
from gs_reg.parts.evidence import gather
from gs_reg.parts.field import FieldConfig, fit_evidence, fit_field
from gs_reg.parts.store import mean_iou_3d
from gs_reg.parts.types import LabelField
from gs_reg.parts.views import part_views
from gs_reg.render import RenderConfig
from gs_reg.state import State
from gs_reg.terms.guidance import EditCost, Guidance

from ..edit.presets import BEST
from ..edit.training import Shots
from .edit_scene import LabelScene, label_scene, object_splats, random_teacher
from .memory import peak_since, reset_peak

MOST_SECONDS = {"linear": 6.0, "joint": 30.0, "step": 0.5, "step with guidance": 0.5}
"""Of wall time on two cores with the sizes of Config."""
MOST_SHARE = 0.1
"""Of the linear fit's time in that of the gradient fit."""
WARM_UP = 3
"""Steps before those that are timed."""


@dataclass(frozen=True)
class Config:
    gaussians: int = 100_000
    views: int = 24
    size: int = 512
    """Side of the views in pixels."""
    labels: int = 8
    """With the background."""
    adam_steps: int = 15
    """Timed steps of the gradient fit, whose median is multiplied by their number."""
    edit_gaussians: int = 50_000
    edit_size: int = 128
    """Side in pixels of the pictures in an edit's steps."""
    edit_steps: int = 15
    """Timed steps of an edit."""
    repeats: int = 3
    """Timed fits by each of the other solvers."""
    threads: int = 2
    json: Path | None = None
    """File for the rows."""


class Row(TypedDict):
    job: str
    wall_seconds: float
    """Median."""
    processor_seconds: float
    """Median, of all threads."""
    peak_bytes: int | None
    """Of memory beyond what was held before."""
    most_seconds: float | None
    """What the wall time should stay under."""
    miou: float | None
    """Of the parts' Gaussians that any view shows, by the labels fitted; None where none were."""
    how: str


@dataclass(frozen=True)
class Clock:
    """Wall and processor seconds at some time."""

    wall: float
    processor: float

    @classmethod
    def now(cls) -> Clock:
        return cls(time.perf_counter(), time.process_time())

    def __sub__(self, other: Clock) -> Clock:
        return Clock(self.wall - other.wall, self.processor - other.processor)


def main(config: Config) -> int:
    threads_before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        rows = fit_rows(config) + edit_rows(config)
    finally:
        torch.set_num_threads(threads_before)
    share = linear_share(rows)
    _print(config, rows, share)
    if config.json:
        sizes = {name: value for name, value in vars(config).items() if name != "json"}
        found = {
            "isa": _ops.native_info()["isa"],
            "load_average": os.getloadavg()[0],
            **sizes,
            "linear_share": share,
            "rows": rows,
        }
        config.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def fit_rows(config: Config) -> list[Row]:
    """Of each solver on one scene."""
    scene = label_scene(config.gaussians, config.views, config.size, config.labels)
    rows = [
        _timed_fit(scene, "linear", FieldConfig(solver="linear"), config.repeats),
        _timed_fit(scene, "joint", FieldConfig(solver="joint"), config.repeats),
    ]
    return [*rows, _timed_adam(scene, config.adam_steps)]


def edit_rows(config: Config) -> list[Row]:
    """Of a step without guidance, and with it."""
    model = random_teacher(config.edit_size)
    text, null = model.text(["a photo of a green robot"]), model.text([""])

    def sds(pictures, masks, progress, generator):
        return sds_loss(model, pictures, masks, text, null, BEST.guidance.sds, generator=generator, progress=progress)

    guidance = Guidance(sds, orbit(12, config.edit_size), model.resolution)
    return [_timed_steps(config, "step", None), _timed_steps(config, "step with guidance", guidance)]


def linear_share(rows: list[Row]) -> float:
    """Processor time of the linear fit over that of the gradient fit."""
    seconds = {row["job"]: row["processor_seconds"] for row in rows}
    return seconds["linear"] / seconds["adam"]


def _timed_fit(scene: LabelScene, job: str, config: FieldConfig, repeats: int) -> Row:
    def run() -> LabelField:
        return fit_field(scene.splats, scene.cameras, scene.maps, config)

    times, peaks, field = [], [], run()
    for _ in range(repeats):
        held, start = reset_peak(), Clock.now()
        field = run()
        times.append(Clock.now() - start)
        peaks.append(peak_since(held))
    how = f"{repeats} runs after one, gathering and weighing of views included"
    decision = decide(scene.splats, scene.cameras, field)
    return _row(job, times, peaks, how, mean_iou_3d(decision, scene.parts, field.seen >= 1))


def _timed_adam(scene: LabelScene, steps: int) -> Row:
    evidence = gather(scene.splats, scene.cameras, scene.maps, RenderConfig())
    ticks: list[Clock] = []
    adam = AdamConfig(steps=WARM_UP + steps)
    held = reset_peak()
    config = FieldConfig(solver="adam", adam=adam, anchors=False)
    fit_evidence(evidence, config, lambda _what, _done, _total: ticks.append(Clock.now()))
    whole = AdamConfig().steps
    times = [after - before for before, after in zip(ticks[WARM_UP - 1 :], ticks[WARM_UP:], strict=False)]
    times = [Clock(whole * t.wall, whole * t.processor) for t in times]
    how = f"median of {steps} steps after {WARM_UP}, times {whole}; anchors and gathering would come on top"
    return _row("adam", times, [peak_since(held)], how)


def _timed_steps(config: Config, job: str, guidance: Guidance | None) -> Row:
    splats = object_splats(config.edit_gaussians)
    parts = splats.extra["part"]
    chosen = parts == torch.bincount(parts).argmax()
    splats = replace(splats, extra={})
    anchors = part_views(splats, orbit(BEST.anchors.count, config.edit_size), chosen)
    shots = Shots(anchors, RenderConfig(), torch.zeros(3), seed=0)
    cost = EditCost(BEST.terms, guidance, BEST.guidance.balance)
    state = State.begin(PartEdit.from_splats(splats, chosen, neutral="grey"), OptimConfig())
    held, ticks = reset_peak(), []
    for _ in fit(state, shots, cost, FitConfig(WARM_UP + config.edit_steps)):
        ticks.append(Clock.now())
    times = [after - before for before, after in zip(ticks[WARM_UP - 1 :], ticks[WARM_UP:], strict=False)]
    how = f"median of {config.edit_steps} steps after {WARM_UP}; {int(chosen.sum()):,} of {len(splats):,} Gaussians"
    return _row(job, times, [peak_since(held)], how)


def _row(job: str, times: list[Clock], peaks: list[int | None], how: str, miou: float | None = None) -> Row:
    known = [peak for peak in peaks if peak is not None]
    return {
        "job": job,
        "wall_seconds": median(t.wall for t in times),
        "processor_seconds": median(t.processor for t in times),
        "peak_bytes": max(known) if known else None,
        "most_seconds": MOST_SECONDS.get(job),
        "miou": miou,
        "how": how,
    }


def _print(config: Config, rows: list[Row], share: float) -> None:
    from rich.console import Console
    from rich.table import Table

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.3g}"

    title = (
        f"{config.views} views of {config.size}x{config.size}, {config.gaussians:,} Gaussians, {config.labels} labels; "
        f"threads: {config.threads}"
    )
    table = Table("job", "wall s", "processor s", "at most", "MiB", "mIoU", "how", title=title)
    for row in rows:
        peak = None if row["peak_bytes"] is None else row["peak_bytes"] / 2**20
        values = (row["wall_seconds"], row["processor_seconds"], row["most_seconds"])
        table.add_row(
            row["job"], *map(number, values), "-" if peak is None else f"{peak:.0f}", number(row["miou"]), row["how"]
        )
    console = Console()
    console.print(table)
    console.print(f"linear / adam: {share:.3f} of the processor time, at most {MOST_SHARE:g}")
