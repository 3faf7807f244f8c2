"""`gs-reg export`: the splats of a run or of a file in another format."""

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
    spz_version: Literal[3, 4] = 4
    """Version of .spz: 4 is smaller, older viewers read only 3."""
    overwrite: bool = False
    """Replace a file that is already there."""


def main(config: Config) -> int:
    as_page = config.to.name.lower().endswith(HTML)
    if not as_page and not config.to.name.lower().endswith(SUFFIXES):
        raise InputError(f"{config.to}: expected a name ending with one of {', '.join((*SUFFIXES, HTML))}")
    if config.spz_version != 4 and not config.to.name.lower().endswith(".spz"):
        raise InputError(f"--spz-version is for .spz only, got {config.to}")
    if config.to.exists() and not config.overwrite:
        raise InputError(f"{config.to}: exists; name another file or pass --overwrite")
    source, splats, camera = open_source(config.source, config.frame)
    if as_page:
        save_html(config.to, splats, camera)
    else:
        save_splats(config.to, splats, spz_version=config.spz_version)
    before, after = source.stat().st_size, config.to.stat().st_size
    say(f"wrote {config.to}: {len(splats):,} Gaussians, {after / 1e6:.1f} MB (from {before / 1e6:.1f} MB)")
    return 0


def open_source(source: Path, frame: Frame) -> tuple[Path, Splats, Cameras | None]:
    """The file that is read, its splats in the given frame, and, for a run, a camera for the first view of a page.

    Raises:
        InputError: no splats there, or the normalised frame of a single file, which does not store it.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder of a run")
    if not source.is_dir():
        if frame != "input":
            raise InputError(f"{source}: only a run knows its normalised frame: name the run's folder, not a file")
        return source, load_splats(source), None
    run = open_run(source)
    camera = middle_camera(run)
    if frame == "normalised":
        return run.splats, stored_splats(run), camera
    return run.splats, load_splats(run.splats), transform_cameras(read_scene(run).source_from_world, camera)


def middle_camera(run: Run) -> Cameras:
    """The training camera in the middle of the list, in the normalised frame."""
    scene = read_scene(run)
    return scene.cameras[scene.train[len(scene.train) // 2]].to(dtype=scene.source_from_world.dtype)
