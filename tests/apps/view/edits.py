"""Folders of edits as the viewer reads them, without a model: the red of two crossing sheets is made green, or goes."""

import dataclasses
import json
from pathlib import Path

import torch

from gs_reg.io import save_splats
from gs_reg.io.rows import RowEdit, read_rows, write_edited
from gs_reg.parts.store import save_labels
from gs_reg.parts.types import Decision, LabelField
from gs_reg.sh import rgb_to_sh

from .scenes import camera, crossing

NAMES = ("background", "red sheet", "blue <sheet>")
GREEN = (0.0, 0.8, 0.0)


def write_edit_run(folder: Path, removed: int = 0, edited: bool = True) -> Path:
    """The red sheet is made green, and the first `removed` of its splats are taken away."""
    folder.mkdir(parents=True)
    splats = crossing()
    save_splats(folder.parent / f"{folder.name}-source.ply", splats)
    source = read_rows(folder.parent / f"{folder.name}-source.ply", folder / "input.ply")
    count, half = len(splats), len(splats) // 2
    ids = torch.ones(count, dtype=torch.long)
    ids[half:] = 2
    chances = torch.zeros(count, 3)
    chances[torch.arange(count), ids] = 0.9
    chances[half // 2 : half, 1] = 0.6  # the right half of the red sheet is not so sure
    field = LabelField(NAMES, torch.zeros(count, 1, 3), torch.ones(count))
    save_labels(folder / "labels.npz", field, Decision(NAMES, ids, chances, torch.zeros(count)))
    at = [camera(), camera(1.0, -0.5), camera(-1.0)]
    views = {f"view_{i}": {"viewmat": c.viewmats[0].tolist(), "K": c.Ks[0].tolist()} for i, c in enumerate(at)}
    files = {
        "views.json": {"source": str(source.path), "size": [at[0].width, at[0].height], "views": views},
        "parts.json": {name: {"gaussians": half, "visible": 0.5} for name in NAMES[1:]},
        "result.json": {"command": "edit parts"},
    }
    if edited:
        owned = torch.arange(half)
        rows = dataclasses.replace(source.splats.rows(owned), sh=rgb_to_sh(torch.tensor(GREEN)).repeat(half, 1, 1))
        edit = RowEdit(owned, rows.rows(owned[removed:]), owned[removed:], owned[removed:])
        write_edited(folder / "edited.ply", source, edit, folder / "original_part.npz")
        outside = {"psnr": 60.0, "share": 0.0}
        files["result.json"] = {"command": "edit run", "part": NAMES[1], "edit": "a green sheet", "remove": False}
        files["result.json"]["metrics"] = {"outside_the_mask": outside}
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "config.yaml").write_text("schema: 1\nthreshold: 0.5\n")
    return folder
