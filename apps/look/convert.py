"""`gs-reg convert`: a splat file, or the splats of a run, in the format that another name asks for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .opened import Frame, open_source, title_of
from .target import Writing, check_target, write_splats


@dataclass(frozen=True)
class Config:
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """Splat file (.ply, .compressed.ply, .spz, .splat, .sog, .glb) or folder of a run."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """File to write; its ending chooses the format: those of IN, .usdz, .usd, or .html (a page)."""
    frame: Frame = "local"
    """local: the file's coordinates; input: with the offset that it notes, rounded as float32 must; normalised: of a
    run, those of training."""
    writing: Annotated[Writing, tyro.conf.OmitArgPrefixes] = Writing()


def main(config: Config) -> int:
    check_target(config.out, config.source, config.writing)
    opened = open_source(config.source, config.frame, config.writing.spz_frame)
    write_splats(config.out, opened, config.writing, title_of(config.source))
    return 0
