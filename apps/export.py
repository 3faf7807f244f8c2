"""`gs-reg export`: splats of a run or a file, in another format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gs_reg.errors import InputError
from gs_reg.io import load_splats, save_splats

from .progress import say
from .run_folder import open_run


@dataclass(frozen=True)
class Config:
    source: Annotated[Path, tyro.conf.Positional]
    """Folder of a run, or a splat file (.ply, .compressed.ply, .spz, .splat)."""
    to: Path
    """File to write; its ending chooses the format (.ply, .compressed.ply, .spz, .splat)."""
    overwrite: bool = False
    """Replace a file that is already there."""


def main(config: Config) -> int:
    source = config.source if config.source.is_file() else open_run(config.source).splats
    if config.to.exists() and not config.overwrite:
        raise InputError(f"{config.to}: exists; name another file or pass --overwrite")
    splats = load_splats(source)
    save_splats(config.to, splats)
    before, after = source.stat().st_size, config.to.stat().st_size
    say(f"wrote {config.to}: {len(splats):,} Gaussians, {after / 1e6:.1f} MB (from {before / 1e6:.1f} MB)")
    return 0
