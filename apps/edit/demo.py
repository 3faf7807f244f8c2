"""`gs-reg demo edit`: a part of a procedural object found and changed by words, by the small teacher; no download."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from ..runs.folder import Run, check_free
from ..runs.progress import say
from ..teacher.small import SMALL
from . import run as edit_run
from .bench.edits import Edit, edit_config, measured, scene_file
from .bench.objects import ObjectConfig, bench_objects, quality
from .config import Config as EditConfig

FAMILY, PART, COLOR = "chair", "seat", "green"


@dataclass(frozen=True)
class Config:
    out: Path | None = None
    """Folder for the object and the run of the edit; default runs/demo-edit/<time>."""
    seed: int = 0
    """Seed of everything random."""


def main(config: Config) -> int:
    check_free(config.out)
    out = config.out or Path("runs/demo-edit") / datetime.now().strftime("%Y%m%d-%H%M%S")
    say(f"a {FAMILY} of procedural shapes, reconstructed from 24 renders:")
    (item,) = bench_objects(out / "object", ObjectConfig(), (FAMILY,))
    say(f"  {len(item.splats):,} Gaussians, {quality(item, 6, 128):.1f} dB over black in views that it has not seen")
    edit = Edit(FAMILY, "colour", PART, COLOR)
    base: EditConfig = EditConfig.of_preset("fast")
    job = edit_config(edit, item, scene_file(item, out), SMALL, replace(base, seed=config.seed), out / "edit")
    code = edit_run.main(job)
    figures = measured(edit, item, Run(out / "edit"))
    say(
        f"{edit.words}: the {PART} is {COLOR} in {figures.color_views:.0%} of the views that nothing was made from, "
        f"{figures.oracle_psnr:.1f} dB to what it should look like; rows outside "
        + ("CHANGED" if figures.changed_outside else "keep every byte")
    )
    for name in ("report.html", "before_after.png", "edited.ply", "turntable.mp4"):
        say(f"  {out / 'edit' / name}")
    return code
