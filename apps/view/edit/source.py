"""What a run of `edit parts` or `edit run` holds for its page."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gs_reg.errors import InputError, reading
from gs_reg.geometry import transform_cameras
from gs_reg.io import load_splats
from gs_reg.io.frames import transform_splats
from gs_reg.io.opening import some_of, up_direction, viewing_distance
from gs_reg.io.rows import undo_edit
from gs_reg.parts.store import LABELS_FILE
from gs_reg.parts.types import Decision
from gs_reg.types import Cameras, Splats

from ...edit.export import EDITED, UNDO
from ...edit.labels import known_decision
from ...edit.start import DECODED, VIEWS
from ...look.opened import Opened
from ...look.report import read_json
from ...runs.config_file import read_yaml
from ...runs.folder import Run, open_run
from ..frame import frame_around
from ..source import Shown


@dataclass(frozen=True)
class ShownEdit:
    shown: Shown
    """The edited splats or, where nothing was edited, those whose parts were found."""
    before: Splats
    """Whose parts were found, in the frame of the page."""
    after: Splats | None
    decision: Decision
    part: str
    """The part that was edited, else the first one."""
    threshold: float
    """With which the run decided."""
    words: str
    """What was asked for and what came of it, as markdown."""


def open_edit(source: Path, out: Path | None) -> ShownEdit:
    """
    Raises:
        InputError: the splats that were edited are gone, or a file is broken.
    """
    run = open_run(source)
    edited = run.path / EDITED
    stored = _before(run)
    decision = known_decision(run.path / LABELS_FILE, len(stored))
    page_from_file = torch.linalg.inv(frame_around(stored.means))
    before = transform_splats(page_from_file, stored)
    with reading(run.path / "result.json"):
        result = read_json(run.path / "result.json")
    after_stored = load_splats(edited) if edited.is_file() else None
    after = None if after_stored is None else transform_splats(page_from_file, after_stored)
    cameras = transform_cameras(page_from_file, _cameras(run))
    first = cameras[0].to(dtype=torch.float32)
    shown = Shown(
        title=run.path.resolve().name,
        opened=Opened(run.path / LABELS_FILE, stored) if after_stored is None else Opened(edited, after_stored),
        out=out or run.path / "view",
        splats=before if after is None else after,
        file_from_page=torch.linalg.inv(page_from_file),
        up=torch.tensor(up_direction([cameras[i] for i in range(len(cameras))])),
        background=torch.ones(3),
        photos=(),
        first=first,
        distance=viewing_distance(some_of(before.means), first),
        labels=decision if after is None else None,
    )
    part = result.get("part") or decision.names[1]
    with reading(run.path / "config.yaml"):
        threshold = float(read_yaml(run.path / "config.yaml").get("threshold", 0.5))
    return ShownEdit(shown, before, after, decision, part, threshold, _words(result))


def _before(run: Run) -> Splats:
    """The splats whose parts were found: kept by the run, given back by it, or where they were."""
    if (run.path / EDITED).is_file():
        with tempfile.TemporaryDirectory() as folder:
            undo_edit(run.path / EDITED, run.path / UNDO, Path(folder) / "before.ply")
            return load_splats(Path(folder) / "before.ply")
    kept = run.path / DECODED
    source = kept if kept.is_file() else Path(read_json(run.path / VIEWS).get("source", ""))
    if not source.is_file():
        raise InputError(f"{run.path}: the splats whose parts were found, {source}, are gone")
    return load_splats(source)


def _cameras(run: Run) -> Cameras:
    with reading(run.path / VIEWS):
        content = run.read_json(VIEWS)
        views = list(content["views"].values())
        viewmats = torch.tensor([view["viewmat"] for view in views], dtype=torch.float64)
        Ks = torch.tensor([view["K"] for view in views], dtype=torch.float64)
        return Cameras(viewmats, Ks, *content["size"])


def _words(result: dict[str, Any]) -> str:
    if result.get("command") != "edit run":
        return "Parts were found; nothing is edited."
    what = "removed" if result["remove"] else f"→ *{result['edit']}*"
    lines = [f"**{result['part']}** {what}"]
    outside = (result.get("metrics") or {}).get("outside_the_mask")
    if outside:
        lines.append(f"outside the mask: {outside['psnr']:.1f} dB, {outside['share']:.2%} of the pixels differ")
    return "  \n".join(lines)
