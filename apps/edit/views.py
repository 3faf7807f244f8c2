"""`gs-reg edit views`: pictures, masks and cameras of the anchors, to be edited by hand for --editor folder:DIR."""

from __future__ import annotations

import json
from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.parts.views import part_views
from gs_reg.types import Views

from ..look.pictures import save_picture
from ..runs.devices import pick_device
from ..runs.progress import say
from .anchors import anchor_views
from .checks import check_sizes, check_teacher_of, check_view_export
from .config import Config
from .job import Job
from .labels import check_part, find_parts
from .pictures import save_mask
from .plan import announce_plan
from .results import common, found
from .start import look, start

__all__ = ["Config", "main"]


MASKS = "pictures_masks"


def main(config: Config) -> int:
    """Without parts, pictures of all views: to read clicks off, or to draw masks on."""
    if config.live.view:
        raise InputError("--view: no effect: `edit views` fits nothing")
    alone = not config.parts and not config.part
    check_sizes(config) if alone else check_view_export(config)
    device = pick_device(config.device)
    say(f"{config.data}:")
    scene = look(config, device)
    if not alone:
        check_teacher_of(scene, config)
    announce_plan(config, scene, device)
    if config.dry_run:
        return 0
    job = start(config, scene, device)
    if alone:
        with job.run.held(), job.run.recorded("gs-reg edit views --resume"):
            save_views(job, tuple(range(len(scene.views))), scene.views)
        say(f"wrote {len(scene.views)} pictures to {job.run.path / 'pictures'}")
        say("  click on them (--clicks PART=VIEW:X,Y) or draw masks VIEW/PART.png for --teacher masks:DIR,")
        say("  with the same --views, --size, --preset and --cameras")
        return 0
    with job.run.held(), job.run.recorded("gs-reg edit views --resume"):
        decision = find_parts(job)
        check_part(job, decision, config.part)
        names = export(job, decision.part(config.part))
        job.run.write_json("result.json", {"command": "edit views", **common(job), **found(job, decision)})
    folder = job.run.path / "pictures"
    say(f"wrote {len(names)} pictures to {folder}: edit what {folder.parent / MASKS} shows in white, then")
    say(f"  gs-reg edit run ... --labels {job.run.path} --editor folder:{folder}")
    if config.json:
        print(json.dumps(job.run.read_json("result.json")))
    return 0


def export(job: Job, chosen: Bool[Tensor, "N"]) -> tuple[str, ...]:
    """pictures/<view>.png, pictures_masks/<view>.png and pictures_cameras.json; returns the names of the views."""
    scene, chosen = job.scene, chosen.to(job.device)
    splats = replace(scene.splats, extra={}).to(job.device)
    rows = anchor_views(job, splats, chosen, None)
    names = tuple(scene.views.names[i] for i in rows)
    cameras = scene.views.cameras[torch.tensor(rows, device=job.device)]
    seen = part_views(splats, cameras, chosen, scene.render, scene.background.to(job.device))
    save_views(job, tuple(rows), seen)
    return names


def save_views(job: Job, rows: tuple[int, ...], seen: Views) -> None:
    """Pictures of these rows of the views, their masks where there are some, and their cameras."""
    names = [job.scene.views.names[row] for row in rows]
    for i, name in enumerate(names):
        save_picture(job.run.path / "pictures" / f"{name}.png", seen.photos[i])
        if seen.masks is not None:
            save_mask(job.run.path / MASKS / f"{name}.png", seen.masks[i])
    known = job.run.read_json("views.json")
    listed = {"size": known["size"], "views": {name: known["views"][name] for name in names}}
    job.run.write_json("pictures_cameras.json", listed)
