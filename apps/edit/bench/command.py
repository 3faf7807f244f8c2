"""`gs-reg edit bench`: how well the teacher's parts and edits come out on procedural objects whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gs_reg.data_tools.synthetic.objects.families import PARTS
from gs_reg.diffusion.model import DiffusionModel
from gs_reg.errors import InputError
from gs_reg.io.atomic import atomic_path
from gs_reg.parts.teachers.attention import WordAttention

from ...runs.progress import say, stage_bar
from ...teacher.small import SMALL
from .. import presets
from ..tables import row_source
from .ablation import ROWS
from .edits import KINDS, EditFigures, planned_edits
from .making import BenchEdits, Table, figures_of, mean
from .objects import FAMILIES, BenchObject, ObjectConfig, bench_objects, quality
from .parts import VARIANTS, label_views, part_figures, spoiled, taught, true_maps, true_pixels

HELD_OUT_VIEWS = 8
WRONG = "from wrong masks"


@dataclass(frozen=True)
class Config:
    model: Path = SMALL
    """Folder of the teacher, which also makes the edited pictures."""
    objects: tuple[str, ...] = FAMILIES
    """Families of the objects."""
    preset: presets.Name = "fast"
    """Of the edits."""
    parts: bool = True
    """Measure how well parts are found."""
    edits: bool = True
    """Edit."""
    ablation: bool = False
    """Also the label field without each of its parts (SH degrees, anchors, soft labels, closed form, Adam), and the
    colour edits with one thing more at a time (mask, anchors, score distillation, prior removal)."""
    label_views: int = 24
    """Renders that the teacher looks at for the figures of parts."""
    seed: int = 0
    out: Path = Path("runs/edit-bench")
    """Folder of the objects, the runs, the tables (a row is written as soon as it is known) and bench.json. Finished
    runs are not repeated."""
    json: Path | None = None
    """Also write the figures to this file."""


def main(config: Config) -> int:
    if unknown := [name for name in config.objects if name not in PARTS]:
        raise InputError(f"--objects: {unknown[0]!r} is none of {', '.join(PARTS)}")
    model = DiffusionModel.load(config.model, device="cpu")
    with stage_bar("objects") as progress:
        progress("reconstructing", 0.0)
        items = bench_objects(config.out / "objects", ObjectConfig(), config.objects)
    figures: dict[str, Any] = {"teacher": str(config.model)}
    if config.parts:
        figures |= parts_of_all(items, model, config)
        write_figures(figures, config)
    if config.edits:
        figures |= edits_of_all(items, model, config)
        write_figures(figures, config)
    if config.edits and config.ablation:
        figures |= {"ablation": ablation_of_all(items, model, config)}
        write_figures(figures, config)
    say(f"wrote {config.out / 'bench.json'}")
    return 0


def write_figures(figures: dict[str, Any], config: Config) -> None:
    text = json.dumps(figures, indent=1) + "\n"
    for path in (config.out / "bench.json", *([config.json] if config.json else [])):
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def parts_of_all(items: Sequence[BenchObject], model: DiffusionModel, config: Config) -> dict[str, Any]:
    """Means over the objects, and the figures of each; parts.csv."""
    variants = VARIANTS if config.ablation else {name: VARIANTS[name] for name in ("linear", "joint")}
    table, source = Table(config.out / "parts.csv"), row_source(str(config.model))
    objects: dict[str, Any] = {}
    for item in items:
        views = label_views(item, config.label_views, model.resolution)
        held_out = item.held_out(HELD_OUT_VIEWS, 128)
        entry: dict[str, Any] = {"psnr": round(quality(item, HELD_OUT_VIEWS, 128), 2), "parts": len(item.item.parts)}
        with stage_bar(item.name) as progress:
            progress("maps", 0.0)
            maps = taught(item, WordAttention(model, seed=config.seed), views)
            true = true_maps(true_pixels(item, views.cameras), item.item.parts)
            wrong = spoiled(true, config.seed), {WRONG: VARIANTS["linear"]}
            for asked, chosen in ((maps, variants), wrong):
                for name, figures in part_figures(item, views, asked, held_out, chosen):
                    progress(name, 0.5)
                    entry[name] = asdict(figures)
                    table.add({"source": source, "object": item.name, "labels": name, **asdict(figures)})
        objects[item.name] = entry
        say(f"{item.name}: {_said(entry['linear'])}")
    means = {
        name: {key: mean([o[name][key] for o in objects.values()]) for key in ("miou", "miou_3d", "miou_maps")}
        for name in (*variants, WRONG)
    }
    say(f"mean: {_said(means['linear'])}")
    recovered = means[WRONG]["miou"]
    return {
        **means["linear"],
        "recovered": recovered,
        "variants": means,
        "objects": objects,
        "label_views": config.label_views,
    }


def _said(figures: dict[str, float]) -> str:
    maps = figures["miou_maps"]
    return f"parts {figures['miou']:.3f} in views, {figures['miou_3d']:.3f} in 3D; maps {maps:.3f}"


def edits_of_all(items: Sequence[BenchObject], model: DiffusionModel, config: Config) -> dict[str, Any]:
    """All edits, with edits.csv."""
    table = Table(config.out / "edits.csv")
    bench = BenchEdits(model, config.model, config.preset, config.seed, config.out)
    done: list[EditFigures] = []
    by_name = {item.name: item for item in items}
    for edit in planned_edits(items, config.seed):
        figures = bench.measured(edit, by_name[edit.family])
        said = "right" if figures.right else "WRONG"
        say(f"{edit.name}: {edit.words!r}: {said} (colour in {figures.color_views:.0%} of the views)")
        table.add({"source": row_source(str(config.model)), **asdict(figures)})
        done.append(figures)
    kinds = {kind: sum(f.right for f in done if f.edit.endswith(kind)) for kind in KINDS}
    return {**figures_of(done), "by_kind": kinds, "each": [asdict(figures) for figures in done]}


def ablation_of_all(items: Sequence[BenchObject], model: DiffusionModel, config: Config) -> dict[str, Any]:
    """Colour edits with one thing more a row, and edit_ablation.csv."""
    table = Table(config.out / "edit_ablation.csv")
    bench = BenchEdits(model, config.model, config.preset, config.seed, config.out)
    edits = [edit for edit in planned_edits(items, config.seed) if edit.kind == "colour"]
    by_name, done = {item.name: item for item in items}, {row: [] for row in ROWS}
    for edit in edits:
        for row in ROWS:
            figures = bench.measured(edit, by_name[edit.family], row)
            say(f"{edit.name}, {row}: colour in {figures.color_views:.0%} of the views")
            table.add({"source": row_source(str(config.model)), "row": row, **asdict(figures)})
            done[row].append(figures)
    return {row: {"has": has, **figures_of(done[row])} for row, has in ROWS.items()}
