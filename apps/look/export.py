"""`gs-reg export`: splats of a run or a file, in another format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gs_reg.errors import InputError
from gs_reg.geometry import transform_cameras
from gs_reg.io import SUFFIXES, load_splats, save_splats
from gs_reg.io.html import save_html
from gs_reg.types import Cameras, Splats

from ..runs.folder import Run, open_run
from ..runs.progress import say
from .scene_file import read_scene, stored_splats

HTML = ".html"
Frame = Literal["input", "normalised"]


@dataclass(frozen=True)
class Config:
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|FILE")]
    """Folder of a run, or a splat file (.ply, .compressed.ply, .spz, .splat)."""
    to: Path
    """File to write; its ending chooses the format: .ply, .compressed.ply, .spz, .splat, or .html (a page)."""
    frame: Frame = "input"
    """input: coordinates of the given cameras; normalised: those of training, cameras about 1 from the origin."""
    overwrite: bool = False
    """Replace a file that is already there."""


def main(config: Config) -> int:
    page = config.to.name.lower().endswith(HTML)
    if not page and not config.to.name.lower().endswith(SUFFIXES):
        raise InputError(f"{config.to}: expected a name ending with one of {', '.join((*SUFFIXES, HTML))}")
    if config.to.exists() and not config.overwrite:
        raise InputError(f"{config.to}: exists; name another file or pass --overwrite")
    source, splats, camera = opened(config.source, config.frame)
    if page:
        save_html(config.to, splats, camera)
    else:
        save_splats(config.to, splats)
    before, after = source.stat().st_size, config.to.stat().st_size
    say(f"wrote {config.to}: {len(splats):,} Gaussians, {after / 1e6:.1f} MB (from {before / 1e6:.1f} MB)")
    return 0


def opened(source: Path, frame: Frame) -> tuple[Path, Splats, Cameras | None]:
    """The file that is read, its splats in the frame, and of a run a camera to look from.

    Raises:
        InputError: no splats there, or the normalised frame of a file, which only its run knows.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder of a run")
    if not source.is_dir():
        if frame != "input":
            raise InputError(f"{source}: only a run knows its normalised frame: name the run's folder, not a file")
        return source, load_splats(source), None
    run = open_run(source)
    camera = first_camera(run)
    if frame == "normalised":
        return run.splats, stored_splats(run), camera
    return run.splats, load_splats(run.splats), transform_cameras(read_scene(run).source_from_world, camera)


def first_camera(run: Run) -> Cameras:
    scene = read_scene(run)
    return scene.cameras[scene.train[len(scene.train) // 2]].to(dtype=scene.source_from_world.dtype)
