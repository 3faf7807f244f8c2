"""Runs of the bench's edits, and tables that grow by a row as soon as it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from gs_reg.diffusion.model import DiffusionModel
from gs_reg.errors import InputError

from ...runs.folder import Run
from ...runs.progress import say
from .. import presets
from .. import run as edit_run
from ..config import Config
from ..tables import write_table
from .ablation import ROWS, ablated
from .edits import Edit, EditFigures, edit_config, measured, scene_file
from .objects import BenchObject


@dataclass
class Table:
    """A CSV file that is whole after every row: a run that is cut off leaves what it has."""

    path: Path
    rows: list[Mapping[str, Any]] = field(default_factory=list)

    def add(self, row: Mapping[str, Any]) -> None:
        self.rows.append(row)
        write_table(self.path, self.rows)


@dataclass(frozen=True)
class BenchEdits:
    """Edits with one loaded pipeline; finished runs are read."""

    model: DiffusionModel
    folder: Path
    """That it was loaded from."""
    preset: presets.Name
    seed: int
    out: Path

    def measured(self, edit: Edit, item: BenchObject, row: str | None = None) -> EditFigures:
        """`row`: of the ablation. A part that was not found is an edit that failed."""
        try:
            return measured(edit, item, self.run(edit, item, row))
        except InputError as error:
            say(f"{edit.name}: {error}")
            return EditFigures(edit.name, edit.words, False, 0.0, 0.0, 0.0, None, False, 0.0, 0)

    def run(self, edit: Edit, item: BenchObject, row: str | None = None) -> Run:
        edits = self.out / "edits" / self.preset
        name = edit.name if row is None else f"{edit.name}-ablation-{list(ROWS).index(row)}"
        run = Run(edits / name)
        if not (run.path / "result.json").is_file():
            base: Config = Config.of_preset(self.preset)
            base = replace(base, seed=self.seed, resume=(run.path / "config.yaml").is_file())
            job = edit_config(edit, item, scene_file(item, self.out / "scenes"), self.folder, base, run.path)
            job = job if row is None else ablated(job, row)
            first = edits / f"{item.name}-colour"
            known = run.path != first and (first / "maps.npz").is_file()
            edit_run.main(replace(job, labels=first if known else None), self.model)
        return run


def figures_of(done: Sequence[EditFigures]) -> dict[str, Any]:
    """Of some edits together."""
    return {
        "success": sum(figures.right for figures in done),
        "edits": len(done),
        "changed_outside": sum(figures.changed_outside for figures in done),
        "color_views_mean": mean([figures.color_views for figures in done]),
        "minutes_mean": mean([figures.minutes for figures in done]),
        "model_calls_mean": mean([figures.calls for figures in done]),
    }


def mean(values: Sequence[float]) -> float:
    return round(float(torch.tensor(values, dtype=torch.float64).mean()), 4) if values else float("nan")
