"""`gs-reg export`: the splats of a run or of a file in another format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gs_reg.errors import InputError
from gs_reg.geometry import similarity_scale, transform_cameras
from gs_reg.io import SUFFIXES, load_splats, save_splats
from gs_reg.io.html import save_html
from gs_reg.render import RenderConfig
from gs_reg.types import Cameras, Splats

from ..runs.folder import open_run
from ..runs.progress import say, stage_bar
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
    source, splats, views = open_source(config.source, config.frame)
    with stage_bar("export") as progress:
        progress(f"writing {config.to.name}", 0.0)
        if as_page:
            save_html(config.to, splats, views.cameras, title=_title(config.source), near=views.near)
        else:
            save_splats(config.to, splats, spz_version=config.spz_version)
    before, after = source.stat().st_size, config.to.stat().st_size
    say(f"wrote {config.to}: {len(splats):,} Gaussians, {after / 1e6:.1f} MB (from {before / 1e6:.1f} MB)")
    return 0


@dataclass(frozen=True)
class PageViews:
    """What a page knows of the photos; a single splat file has none."""

    cameras: Mapping[str, Cameras] | None = None
    """The camera of each photo by its name, those of training first."""
    near: float | None = None
    """Depth from which splats are drawn, in the frame of the cameras."""


def open_source(source: Path, frame: Frame) -> tuple[Path, Splats, PageViews]:
    """The file that is read, its splats in the given frame, and, for a run, its cameras in that frame.

    Raises:
        InputError: no splats there, or the normalised frame of a single file, which does not store it.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder of a run")
    if not source.is_dir():
        if frame != "input":
            raise InputError(f"{source}: only a run knows its normalised frame: name the run's folder, not a file")
        return source, load_splats(source), PageViews()
    run = open_run(source)
    scene = read_scene(run)
    names = [*scene.train, *(name for name in scene.cameras if name not in scene.train)]
    cameras, near = {name: scene.cameras[name] for name in names}, RenderConfig().near
    if frame == "normalised":
        return run.splats, stored_splats(run), PageViews(cameras, near)
    to_input = scene.source_from_world
    cameras = {name: transform_cameras(to_input, camera.to(dtype=to_input.dtype)) for name, camera in cameras.items()}
    return run.splats, load_splats(run.splats), PageViews(cameras, near * similarity_scale(to_input))


def _title(source: Path) -> str:
    """Name of the file or of the run: runs are runs/<name>/<time>, else the folder that --out named."""
    path = source.resolve()
    return path.parent.name if path.is_dir() and path.name[:8].isdigit() else path.name
