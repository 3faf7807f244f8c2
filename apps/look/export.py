"""`gs-reg export`: the splats of a run or of a file in another format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from gs_reg.errors import InputError
from gs_reg.geometry import shifted, similarity_scale, transform_cameras
from gs_reg.io import SUFFIXES, load_splats, read_offset, save_splats
from gs_reg.io.frames import transform_splats
from gs_reg.io.html import save_html
from gs_reg.render import RenderConfig
from gs_reg.types import Cameras, Splats

from ..runs.folder import open_run
from ..runs.progress import plural, say, stage_bar
from .offset import offset_words, rounding
from .scene_file import StoredScene, splats_frame, stored_splats

HTML = ".html"
Frame = Literal["local", "input", "normalised"]


@dataclass(frozen=True)
class Config:
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|FILE")]
    """Folder of a run, or a splat file (.ply, .compressed.ply, .spz, .splat)."""
    to: Path
    """File to write; its ending chooses the format: .ply, .compressed.ply, .spz, .splat, or .html (a page)."""
    frame: Frame = "local"
    """local: coordinates of the given cameras, less the run's offset where they are far from the origin; input: with
    it, rounded as float32 must; normalised: those of training, cameras about 1 from the origin."""
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
    opened = open_source(config.source, config.frame)
    with stage_bar("export") as progress:
        progress(f"writing {config.to.name}", 0.0)
        if as_page:
            save_html(config.to, opened.splats, opened.cameras, title=_title(config.source), near=opened.near)
        else:
            save_splats(config.to, opened.splats, spz_version=config.spz_version, offset=opened.offset)
    before, after = opened.file.stat().st_size, config.to.stat().st_size
    say(
        f"wrote {config.to}: {plural(len(opened.splats), 'Gaussian')}, "
        f"{after / 1e6:.1f} MB (from {before / 1e6:.1f} MB)"
    )
    for line in (*opened.notes, *_lost(config.to, opened.offset)):
        say(f"  {line}")
    return 0


def _lost(to: Path, offset: Sequence[float] | None) -> tuple[str, ...]:
    """What a file of a format without a place for the offset does not tell."""
    if offset is None or not any(offset) or to.name.lower().endswith((".ply", HTML)):
        return ()
    return (f"{to.suffix} has no place for the offset: note it, or export a .ply, whose header tells it",)


@dataclass(frozen=True)
class Opened:
    """What is exported."""

    file: Path
    splats: Splats
    offset: Sequence[float] | None = None
    """What the positions leave out of the source's coordinates; None = nothing to tell."""
    notes: tuple[str, ...] = ()
    """What the user should know of the coordinates."""
    cameras: Mapping[str, Cameras] | None = None
    """The camera of each photo by its name, those of training first; a single file has none."""
    near: float | None = None
    """Depth from which splats are drawn, in the frame of the cameras."""


def open_source(source: Path, frame: Frame) -> Opened:
    """The splats of a run or a file in the given frame, and, for a run, its cameras in that frame.

    Raises:
        InputError: no splats there, or the normalised frame of a single file, which does not store it.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder of a run")
    if not source.is_dir():
        if frame == "normalised":
            raise InputError(f"{source}: only a run knows its normalised frame: name the run's folder, not a file")
        return _of_file(source, frame)
    run = open_run(source)
    scene = splats_frame(run)
    names = [*scene.train, *(name for name in scene.cameras if name not in scene.train)]
    cameras, near = {name: scene.cameras[name] for name in names}, RenderConfig().near
    if frame == "normalised":
        return Opened(run.splats, stored_splats(run, scene), cameras=cameras, near=near)
    opened = _of_file(run.splats, frame, scene)
    matrix = scene.source_from_world if frame == "input" else scene.file_from_world
    cameras = {name: transform_cameras(matrix, camera.to(dtype=matrix.dtype)) for name, camera in cameras.items()}
    return replace(opened, cameras=cameras, near=near * similarity_scale(matrix))


def _of_file(file: Path, frame: Frame, scene: StoredScene | None = None) -> Opened:
    """The splats of a file, and the offset that it names, or else that of the run."""
    splats, offset = load_splats(file), read_offset(file)
    if scene is not None and scene.offset.any():
        offset = scene.offset.tolist()
    if offset is None:
        return Opened(file, splats)
    if frame == "local" or not any(offset):
        return Opened(file, splats, offset, (offset_words(offset),) if any(offset) else ())
    moved = transform_splats(shifted(torch.eye(4), -torch.tensor(offset, dtype=torch.float64)), splats)
    # zeros, so that a run or a file that is made of it knows that nothing is left out
    return Opened(file, moved, (0.0, 0.0, 0.0), (rounding(splats, offset, scene).words,))


def _title(source: Path) -> str:
    """Name of the file or of the run: runs are runs/<name>/<time>, else the folder that --out named."""
    path = source.resolve()
    return path.parent.name if path.is_dir() and path.name[:8].isdigit() else path.name
