"""What an edit leaves: the edited file, the way back, pictures before and after, and what changed where."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from gs_reg.io.atomic import atomic_path
from gs_reg.io.rows import RowEdit, read_rows, write_edited
from gs_reg.parts.locality import consistency, pixel_changes, reaching_out
from gs_reg.parts.types import Decision
from gs_reg.parts.views import dilated, part_views
from gs_reg.render import render
from gs_reg.types import Cameras, Splats, Views

from ..look.paths import camera_path
from ..look.report.images import error_map
from ..look.video import write_video
from .config import Config
from .job import Job
from .labels import visible_share
from .pictures import as_bytes
from .results import common, found
from .scores import write_scores

EDITED, UNDO, SHEET, VIDEO = "edited.ply", "original_part.npz", "before_after.png", "turntable.mp4"
FRAMES, FPS = 90, 30
COLUMNS = 4
MARGIN = 4 / 512
"""Of the longer side: so far around the masks a change is not outside, as splats have soft edges."""


def write_edit(job: Job, decision: Decision, edit: RowEdit) -> None:
    """edited.ply and all that is said of it."""
    config, scene = cast(Config, job.config), job.scene
    with job.stage("results") as progress:
        progress("splats", 0.0)
        counts = write_edited(job.run.path / EDITED, scene.rows, edit, job.run.path / UNDO)
        after = read_rows(job.run.path / EDITED, job.run.path / EDITED).splats
        part = decision.part(config.part).cpu()
        edited = edited_rows(edit, len(part))
        progress("pictures", 0.2)
        figures, views = compare(job, part, after, edited)
        locality = {**dataclasses.asdict(counts), "intact": counts.intact, **figures.pop("locality")}
        job.run.write_json("locality.json", locality)
        write_sheet(job, *views)
        progress("scores", 0.4)
        figures |= write_scores(job, *views, margin=locality["margin_pixels"])
        progress("video", 0.6)
        write_turntable(job, after)
    anchors = job.run.read_json("anchors/anchors.json") if (job.run.path / "anchors/anchors.json").is_file() else None
    job.run.write_json(
        "result.json",
        {
            "command": "edit run",
            "part": config.part,
            "edit": config.edit or None,
            "remove": config.remove,
            "shape": config.shape,
            "teacher_used": config.teacher,
            "editor": config.editor,
            **common(job),
            **found(job, decision),
            "anchors": anchors,
            "locality": locality,
            "metrics": figures,
        },
    )


def edited_rows(edit: RowEdit, count: int) -> Bool[Tensor, "M"]:
    """Of the edited file's splats, those that the edit owns or made; `count` is their number before."""
    owned = torch.zeros(count)
    owned[edit.owned] = 1
    column = edit.column_after(owned) > 0
    column[len(column) - int((edit.origin < 0).sum()) :] = True
    return column


@torch.no_grad()
def compare(
    job: Job, part: Bool[Tensor, "N"], after: Splats, edited: Bool[Tensor, "M"]
) -> tuple[dict[str, Any], tuple[Views, Views, Bool[Tensor, "C H W"]]]:
    """Figures of both clouds in all views; and their pictures with the masks of the part, before and after together."""
    scene, background = job.scene, job.scene.background.to(job.device)
    cameras, before = scene.views.cameras, replace(scene.splats, extra={}).to(job.device)
    after, part, edited = after.to(job.device), part.to(job.device), edited.to(job.device)
    old = part_views(before, cameras, part, scene.render, background)
    new = part_views(after, cameras, edited, scene.render, background)
    assert old.masks is not None and new.masks is not None
    both = old.masks | new.masks
    margin = max(1, math.ceil(MARGIN * max(cameras.width, cameras.height)))
    wide = dilated(both, margin)
    changes = pixel_changes(old.photos, new.photos, wide)
    locality: dict[str, Any] = {"margin_pixels": margin}
    if bool(edited.any()):
        count, share = reaching_out(after, cameras, edited, wide)
        locality |= {"splats_outside_the_mask": count, "weight_outside_the_mask": share}
    figures: dict[str, Any] = {
        "outside_the_mask": None if changes is None else dataclasses.asdict(changes),
        "consistency": None,
        "part_visible": visible_share(new.masks.cpu(), new.alphas),
    }
    if changes is not None:
        locality["leakage"] = changes.leakage
    if bool(edited.any()):
        agreement = consistency(after, cameras, edited)
        figures["consistency"] = {f"{angle:g} degrees": value for angle, value in agreement.items()}
    figures["locality"] = locality
    return figures, (old, new, both)


def write_sheet(job: Job, old: Views, new: Views, masks: Bool[Tensor, "C H W"]) -> None:
    """before_after.png: rows before, after, mask and difference; columns where the part is largest, well apart."""
    from PIL import Image

    sizes = masks.flatten(1).sum(1).cpu()
    order = torch.linspace(0, len(sizes) - 1, COLUMNS + 1).round().long()
    columns = [int(a) + int(sizes[a : max(int(b), int(a) + 1)].argmax()) for a, b in itertools.pairwise(order)]
    columns = list(dict.fromkeys(columns))
    before, after = [[as_bytes(views.photos[i]) for i in columns] for views in (old, new)]
    mask = [masks[i].cpu().numpy()[..., None].repeat(3, -1).astype(np.uint8) * 255 for i in columns]
    difference = [error_map(a, b) for a, b in zip(before, after, strict=True)]
    sheet = np.concatenate([np.concatenate(row, 1) for row in (before, after, mask, difference)], 0)
    with atomic_path(job.run.path / SHEET) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")
    job.run.write_json("before_after.json", {"views": [job.scene.views.names[i] for i in columns]})


@torch.no_grad()
def write_turntable(job: Job, splats: Splats) -> None:
    scene = job.scene
    cameras = scene.views.cameras.to("cpu")
    depths = scene.views.depths
    assert depths is not None
    seen = depths[depths > 0]
    path = camera_path("auto", cameras, FRAMES, focus_depth=float(seen.median()) if len(seen) else 1.0)
    splats, background = splats.to(job.device), scene.background[None].to(job.device)

    def frame(camera: Cameras) -> np.ndarray:
        return as_bytes(render(splats, camera.to(job.device), scene.render, backgrounds=background).colors[0])

    write_video(job.run.path / VIDEO, (frame(path[i]) for i in range(len(path))), FPS)
