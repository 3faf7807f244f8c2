"""`gs-reg export`: the splats of a run or of a file in another format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .opened import Frame, open_source, title_of
from .target import Writing, check_target, write_splats


@dataclass(frozen=True)
class Config:
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|FILE")]
    """Folder of a run, or a splat file (.ply, .compressed.ply, .spz, .splat, .sog, .glb)."""
    to: Path
    """File to write; its ending chooses the format: .ply, .compressed.ply, .spz, .splat, .sog, .glb, .usdz, .usd, or
    .html (a page)."""
    frame: Frame = "local"
    """local: coordinates of the given cameras, less the run's offset where they are far from the origin; input: with
    it, rounded as float32 must; normalised: those of training, cameras about 1 from the origin."""
    writing: Annotated[Writing, tyro.conf.OmitArgPrefixes] = Writing()


def main(config: Config) -> int:
    check_target(config.to, config.source, config.writing)
    opened = open_source(config.source, config.frame, config.writing.spz_frame)
    write_splats(config.to, opened, config.writing, title_of(config.source))
    return 0
