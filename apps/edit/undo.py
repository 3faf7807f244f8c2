"""`gs-reg edit undo`: the splats as they were before an edit, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gs_reg.errors import InputError
from gs_reg.io.rows import undo_edit

from ..runs.folder import open_run
from ..runs.progress import say
from .export import EDITED, UNDO


@dataclass(frozen=True)
class Config:
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of an `edit run`."""
    to: Path | None = None
    """File to write, a .ply; default original.ply in the run's folder."""
    overwrite: bool = False
    """Replace a file that is already there."""


def main(config: Config) -> int:
    run = open_run(config.run)
    target = config.to or run.path / "original.ply"
    for name in (EDITED, UNDO):
        if not (run.path / name).is_file():
            raise InputError(f"{run.path / name}: missing; is {run.path} the folder of a finished `edit run`?")
    if target.suffix.lower() != ".ply":
        raise InputError(f"{target}: expected a name ending with .ply")
    if target.exists() and not config.overwrite:
        raise InputError(f"{target}: exists; name another file with --to or pass --overwrite")
    undo_edit(run.path / EDITED, run.path / UNDO, target)
    say(f"wrote {target}")
    return 0
