"""`--remove`: the part's rows go, and the holes that they leave are closed from behind."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from gs_reg.diffusion.editors import open_editor, parse_editor
from gs_reg.errors import InputError
from gs_reg.io.rows import RowEdit
from gs_reg.models.part_edit import PartEdit
from gs_reg.parts.removal import fill_behind
from gs_reg.parts.types import Decision
from gs_reg.parts.views import part_views
from gs_reg.types import Splats, Views

from ..look.pictures import save_picture
from ..runs.progress import log, say
from .anchors import anchor_views
from .config import Config
from .job import Job
from .pictures import save_mask

FOLDER = "filled"
"""Of a run: pictures without the part, and masks of what was closed behind it."""


def removal(job: Job, decision: Decision) -> RowEdit:
    """The chosen rows away, and new ones behind them where there is a surface.

    Raises:
        InputError: nothing would be left.
    """
    config, scene = cast(Config, job.config), job.scene
    splats = replace(scene.splats, extra={}).to(job.device)
    chosen = decision.part(config.part).to(job.device)
    if chosen.all():
        raise InputError("--remove: the part is all that there is")
    with job.stage("training") as progress:
        progress("filling behind the part", 0.0)
        pictures = painted(job, splats, chosen)
        background = scene.background.to(job.device)
        filling = fill_behind(splats, chosen, scene.views, scene.render, background, pictures)
        if filling.views is not None:
            write_filled(job, filling.views)
    shown = 0 if filling.views is None else len(filling.views)
    say(f"  removed {int(chosen.sum()):,} Gaussians; {len(filling.splats):,} new ones behind them, from {shown} views")
    return PartEdit.removing(splats, chosen, filling.splats, filling.parent).row_edit()


def painted(job: Job, splats: Splats, chosen: Tensor) -> dict[str, Tensor]:
    """The user's pictures without the part, by view; none without `--editor folder:DIR`."""
    config, scene = cast(Config, job.config), job.scene
    choice = parse_editor(config.editor)
    if choice.kind != "folder":
        return {}
    editor = open_editor(choice, None)
    rows = anchor_views(job, splats, chosen, editor.views)
    cameras = scene.views.cameras[torch.tensor(rows, device=job.device)]
    seen = part_views(splats, cameras, chosen, scene.render, scene.background.to(job.device))
    assert seen.masks is not None
    pictures = {}
    for i, name in enumerate(scene.views.names[row] for row in rows):
        pictures[name] = editor.edit(
            seen.photos[i].clamp(0, 1), seen.masks[i], None, "", "", None, config.seed, view=name
        )
    for note in editor.notes:
        log.warning("%s", note)
    editor.close()
    return pictures


def write_filled(job: Job, views: Views) -> None:
    assert views.masks is not None
    for i, name in enumerate(views.names):
        save_picture(job.run.path / FOLDER / f"{name}.png", views.photos[i])
        save_mask(job.run.path / FOLDER / f"{name}_mask.png", views.masks[i])
