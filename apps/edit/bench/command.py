"""`gs-reg edit bench`: how well the teacher's parts and edits come out on procedural objects whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from gs_reg.data_tools.synthetic.objects.families import PARTS
from gs_reg.diffusion.model import DiffusionModel
from gs_reg.errors import InputError
from gs_reg.io.atomic import atomic_path
from gs_reg.parts.teachers.attention import WordAttention

from ...runs.folder import Run
from ...runs.progress import say, stage_bar
from ...teacher.small import SMALL
from .. import presets
from .. import run as edit_run
from ..config import Config as EditConfig
from .edits import Edit, EditFigures, edit_config, measured, planned_edits, scene_file
from .objects import FAMILIES, BenchObject, ObjectConfig, bench_objects, quality
from .parts import VARIANTS, PartFigures, label_views, part_figures, spoiled, taught, true_maps, true_pixels

HELD_OUT_VIEWS = 8


@dataclass(frozen=True)
class Config:
    model: Path = SMALL
    """Folder of the teacher, which also makes the edited pictures."""
    objects: tuple[str, ...] = FAMILIES
    """Families of the objects."""
    preset: presets.Name = "fast"
    """Of the edits."""
    edits: bool = True
    """Also edit; else parts alone."""
    ablation: bool = False
    """Also the label field without each of its parts (SH degrees, anchors, soft labels, closed form, Adam)."""
    label_views: int = 24
    """Renders that the teacher looks at for the figures of parts."""
    seed: int = 0
    out: Path = Path("runs/edit-bench")
    """Folder of the objects, the runs and of bench.json. Finished runs are not repeated."""
    json: Path | None = None
    """Also write the figures to this file."""


def main(config: Config) -> int:
    if unknown := [name for name in config.objects if name not in PARTS]:
        raise InputError(f"--objects: {unknown[0]!r} is none of {', '.join(PARTS)}")
    model = DiffusionModel.load(config.model, device="cpu")
    with stage_bar("objects") as progress:
        progress("reconstructing", 0.0)
        items = bench_objects(config.out / "objects", ObjectConfig(), config.objects)
    figures = parts_of_all(items, model, config)
    if config.edits:
        figures |= edits_of_all(items, model, config)
    text = json.dumps(figures, indent=1) + "\n"
    for path in (config.out / "bench.json", *([config.json] if config.json else [])):
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    say(f"wrote {config.out / 'bench.json'}")
    return 0


def parts_of_all(items: Sequence[BenchObject], model: DiffusionModel, config: Config) -> dict[str, Any]:
    """Means over the objects, and the figures of each."""
    variants = VARIANTS if config.ablation else {name: VARIANTS[name] for name in ("linear", "joint")}
    objects: dict[str, Any] = {}
    for item in items:
        views = label_views(item, config.label_views, model.resolution)
        held_out = item.held_out(HELD_OUT_VIEWS, 128)
        with stage_bar(item.name) as progress:
            progress("maps", 0.0)
            maps = taught(item, WordAttention(model, seed=config.seed), views)
            progress("labels", 0.5)
            by_variant = part_figures(item, views, maps, held_out, variants)
            true = true_maps(true_pixels(item, views.cameras), item.item.parts)
            recovered = part_figures(item, views, spoiled(true, config.seed), held_out, {"linear": VARIANTS["linear"]})
        entry = {name: asdict(f) for name, f in by_variant.items()}
        objects[item.name] = {"psnr": round(quality(item, HELD_OUT_VIEWS, 128), 2), "parts": len(item.item.parts)}
        objects[item.name] |= {**entry, "from wrong masks": asdict(recovered["linear"])}
        best: PartFigures = by_variant["linear"]
        say(f"{item.name}: parts {best.miou:.3f} in views, {best.miou_3d:.3f} in 3D; maps {best.miou_maps:.3f}")
    names = [*variants, "from wrong masks"]
    means = {
        name: {key: _mean([o[name][key] for o in objects.values()]) for key in ("miou", "miou_3d", "miou_maps")}
        for name in names
    }
    linear = means["linear"]
    say(f"mean: parts {linear['miou']:.3f} in views, {linear['miou_3d']:.3f} in 3D; maps {linear['miou_maps']:.3f}")
    return {
        **linear,
        "recovered": means["from wrong masks"]["miou"],
        "variants": means,
        "objects": objects,
        "teacher": str(config.model),
        "label_views": config.label_views,
    }


def edits_of_all(items: Sequence[BenchObject], model: DiffusionModel, config: Config) -> dict[str, Any]:
    done: list[EditFigures] = []
    by_name = {item.name: item for item in items}
    for edit in planned_edits(items, config.seed):
        try:
            figures = one_edit(edit, by_name[edit.family], model, config)
        except InputError as error:  # a part that was not found is an edit that failed
            say(f"{edit.name}: {edit.words!r}: WRONG: {error}")
            figures = EditFigures(edit.name, edit.words, False, 0.0, 0.0, 0.0, None, False, 0.0, 0)
        said = "right" if figures.right else "WRONG"
        say(f"{edit.name}: {edit.words!r}: {said} (colour in {figures.color_views:.0%} of the views)")
        done.append(figures)
    return {
        "success": sum(figures.right for figures in done),
        "edits": len(done),
        "changed_outside": sum(figures.changed_outside for figures in done),
        "minutes_mean": _mean([figures.minutes for figures in done]),
        "model_calls_mean": _mean([figures.calls for figures in done]),
        "by_kind": {
            kind: sum(figures.right for figures in done if figures.edit.endswith(kind))
            for kind in ("colour", "finish", "shape")
        },
        "each": [asdict(figures) for figures in done],
    }


def one_edit(edit: Edit, item: BenchObject, model: DiffusionModel, config: Config) -> EditFigures:
    """Run, or read where it is finished."""
    run = Run(config.out / "edits" / config.preset / edit.name)
    if not (run.path / "result.json").is_file():
        base: EditConfig = EditConfig.of_preset(config.preset)
        base = replace(base, seed=config.seed, resume=(run.path / "config.yaml").is_file())
        scene = scene_file(item, config.out / "scenes")
        labels = config.out / "edits" / config.preset / f"{item.name}-colour"
        job = edit_config(edit, item, scene, config.model, base, run.path)
        job = replace(job, labels=labels if edit.kind != "colour" and (labels / "maps.npz").is_file() else None)
        edit_run.main(job, model)
    return measured(edit, item, run)


def _mean(values: Sequence[float]) -> float:
    return round(float(torch.tensor(values, dtype=torch.float64).mean()), 4) if values else float("nan")
