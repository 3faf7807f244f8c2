"""scene.json beside exports: frame and units of each file's numbers, and the way to the given cameras."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gs_reg.geometry import transform_points
from gs_reg.io.atomic import atomic_path

from .opened import Opened

NAME = "scene.json"


def note_frame(to: Path, opened: Opened, axes: Sequence[int] = (1, 1, 1)) -> str:
    """Adds the file to scene.json beside it, and forgets files that are gone; returns what was done, in words.

    `axes` are the signs that turn our axes to those of the file's numbers. A scene.json of a run or of another program
    is left as it is.
    """
    path = to.with_name(NAME)
    stored = _stored(path)
    if stored is None:
        return f"{path} is not one of exports and was left as it is: the frame of {to.name} is not noted in it"
    files = {name: entry for name, entry in stored.items() if (to.parent / name).is_file()}
    with atomic_path(path) as temporary:
        temporary.write_text(
            json.dumps({"schema": 1, "files": files | {to.name: _entry(opened, axes)}}, indent=2) + "\n"
        )
    return f"its frame is in {path}"


def _entry(opened: Opened, axes: Sequence[int]) -> dict[str, Any]:
    turn = torch.diag(torch.tensor([*axes, 1], dtype=torch.float64))  # its own inverse
    up = None if opened.up is None else transform_points(turn, opened.up.double()[None])[0].tolist()
    return {
        "frame": opened.frame,
        "up": up,
        "units": opened.units,
        "input_from_file": (opened.input_from_splats.double() @ turn).tolist(),
    }


def _stored(path: Path) -> dict[str, Any] | None:
    """Entries by file; none where there is no such file, None where it is something else."""
    if not path.exists():
        return {}
    try:
        data = json.loads(path.read_text())
    except ValueError:
        return None
    files = data.get("files") if isinstance(data, dict) and data.keys() == {"schema", "files"} else None
    return files if isinstance(files, dict) else None
