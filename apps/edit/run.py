"""`gs-reg edit run`: parts -> edited pictures of them -> the part's Gaussians made to look so; all else stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

from gs_reg.diffusion.model import DiffusionModel

from ..runs.devices import pick_device
from ..runs.progress import say
from ..runs.training import Clock
from ..view.live.opening import live_page
from .anchors import edited_anchors
from .checks import check_edit, check_teacher_of
from .config import Config
from .export import EDITED, write_edit
from .job import Job
from .labels import check_part, find_parts
from .plan import announce_plan
from .removal import removal
from .report import write_report
from .scores import check_scores
from .start import look, start
from .training import finished, optimise

if TYPE_CHECKING:
    from ..view.live.page import LivePage

__all__ = ["Config", "main"]


def main(config: Config, model: DiffusionModel | None = None) -> int:
    """`model`: the pipeline of --model where a caller has it at hand."""
    check_edit(config)
    check_scores(config)
    clock, device = Clock(), pick_device(config.device)
    say(f"{config.data}:")
    scene = look(config, device)
    check_teacher_of(scene, config)
    announce_plan(config, scene, device)
    if config.dry_run:
        return 0
    with live_page(config.live, f"{config.part} of {Path(config.data).name}: {config.edit}") as page:
        job = start(config, scene, device)
        job.loaded = model
        with job.run.held(), job.run.recorded("gs-reg edit run --resume"):
            make_edit(job, clock, page)
            say(f"wrote {write_report(job)}")
    say(f"wrote {job.run.path / EDITED}; `gs-reg edit undo {job.run.path}` gives the splats from before")
    if config.json:
        print(json.dumps(job.run.read_json("result.json")))
    return 0


def make_edit(job: Job, clock: Clock, page: LivePage | None = None) -> None:
    """All stages; those whose files are there are not repeated."""
    config = cast(Config, job.config)
    decision = find_parts(job)
    check_part(job, decision, config.part)
    if config.remove:
        edit = removal(job, decision)
    else:
        anchors = edited_anchors(job, decision)
        edit = finished(job, optimise(job, decision, anchors, clock, page), anchors)
    write_edit(job, decision, edit)
