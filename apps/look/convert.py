"""`gs-reg convert`: a splat file, or the splats of a run, in the format that another name asks for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gs_reg.errors import InputError
from gs_reg.io.frames import transform_splats

from ..ns_plugin import bridge
from ..runs.progress import say
from .opened import ExportFrame, Opened, open_source, title_of
from .target import Writing, axes_of, check_target, write_splats

CHECKPOINT = ".ckpt"


@dataclass(frozen=True)
class Config:
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """Splat file (.ply, .compressed.ply, .spz, .splat, .sog, .glb), folder of a run, or run or .ckpt of nerfstudio."""
    out: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")] = None
    """File to write; its ending chooses the format: those of IN, .usdz, .usd, or .html (a page); .ckpt: a checkpoint of
    nerfstudio with plain numbers alone. With --to nerfstudio a folder, default `outputs`."""
    to: Literal["file", "nerfstudio"] = "file"
    """nerfstudio: a run as one of nerfstudio, for ns-viewer, ns-render, ns-eval and ns-export; needs nerfstudio."""
    frame: ExportFrame = "local"
    """local: the file's coordinates; input: with the offset that it notes, rounded as float32 must; normalised: of a
    run, those of training; gravity: of a run, y up, by its cameras. Of nerfstudio's runs: normalised is its own space,
    local and input are that of the given cameras."""
    trust: bool = False
    """Load a checkpoint of nerfstudio with pickled objects, which run whatever code they name: one of your own."""
    writing: Annotated[Writing, tyro.conf.OmitArgPrefixes] = Writing()


def main(config: Config) -> int:
    source, out = config.source, config.out
    if config.to == "nerfstudio":
        say(f"wrote {bridge.write_nerfstudio(source, out or Path('outputs'))}")
        return 0
    if out is None:
        raise InputError("OUT is missing: name the file to write")
    theirs = bridge.is_nerfstudio(source)
    if config.trust and not theirs:
        raise InputError(f"--trust is for checkpoints of nerfstudio, got {source}")
    if theirs and out.suffix == CHECKPOINT:
        if out.exists() and not config.writing.overwrite:
            raise InputError(f"{out}: exists; name another file or pass --overwrite")
        bridge.rewrite_checkpoint(source, out, config.trust)
        say(f"wrote {out}: plain numbers alone, so any torch loads it")
        return 0
    check_target(out, source, config.writing)
    writing = config.writing
    opened = (
        _of_nerfstudio(config)
        if theirs
        else open_source(source, config.frame, writing.spz_frame, axes_of(out, writing))
    )
    write_splats(out, opened, writing, title_of(source), noted=theirs)
    return 0


def _of_nerfstudio(config: Config) -> Opened:
    if config.frame == "gravity":
        raise InputError(f"{config.source}: --frame gravity is for runs of ours: theirs is turned already, z up")
    found = bridge.read_nerfstudio(config.source, config.trust)
    mode = "mip" if found.antialiased else "default"
    if config.frame == "normalised":
        matrix = found.source_from_world
        return Opened(found.file, found.splats, render_mode=mode, frame="normalised", input_from_splats=matrix)
    splats = transform_splats(found.source_from_world, found.splats)
    notes = ("in the coordinates of the given cameras",)
    return Opened(found.file, splats, notes=notes, render_mode=mode, frame="input")
