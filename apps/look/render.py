"""`gs-reg render`: a video along a camera path, or the views of a run, from its splats.ply."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from jaxtyping import UInt8

from gs_reg.data_tools.photos.names import file_stems
from gs_reg.errors import InputError
from gs_reg.render import RenderConfig, render
from gs_reg.types import Cameras, Splats

from ..runs.folder import Run, open_run
from ..runs.progress import counted, say, stage_bar
from .paths import PathKind, camera_path, with_one_size
from .pictures import save_depth, save_picture
from .scene_file import StoredScene, splats_frame, stored_splats
from .video import check_name, write_video


@dataclass(frozen=True)
class Config:
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of a run."""
    what: Literal["path", "train", "test"] = "path"
    """path: a video along a camera path; train, test: a picture of each view, with depth."""
    path: PathKind = "auto"
    """Kind of camera path; auto = orbit for cameras that look inwards, else spiral."""
    frames: int = 120
    """Frames of the video."""
    fps: float = 30.0
    """Frames a second."""
    scale: float = 1.0
    """Size of the pictures relative to the training photos."""
    to: Path | None = None
    """Video (.mp4, .mov, .mkv) or folder of pictures; default below the run's folder, under the next free name."""
    overwrite: bool = False
    """Replace files that are already there."""
    render: RenderConfig = field(default_factory=RenderConfig)


def main(config: Config) -> int:
    for flag in ("path", "frames", "fps"):
        if config.what != "path" and getattr(config, flag) != getattr(Config, flag):
            raise InputError(f"--{flag}: no effect: --what {config.what} writes pictures, not a video")
    run = open_run(config.run)
    written = camera_path_video(run, config) if config.what == "path" else render_split(run, config)
    say(f"wrote {written}")
    return 0


def camera_path_video(run: Run, config: Config | None = None) -> Path:
    """Writes videos/path.mp4 (or what config names) and returns its path."""
    config = config or Config(run.path, overwrite=True)  # as a part of the run, which may have been killed behind it
    target = _target(config, run.path / "videos" / "path.mp4")
    check_name(target)
    scene = splats_frame(run)
    splats = stored_splats(run, scene)
    train = with_one_size([scene.cameras[name] for name in scene.train])
    train = train.resized(round(train.width * config.scale), round(train.height * config.scale))
    cameras = camera_path(config.path, train, config.frames, focus_depth=median_depth(splats, train))
    with stage_bar("video") as progress:
        write_video(target, render_frames(splats, cameras, scene, config.render, progress), config.fps)
    return target


def _target(config: Config, usual: Path) -> Path:
    """Where to write: what --to names, else the usual file or folder, else usual-2, usual-3 ...

    Raises:
        InputError: --to names what is there already, without --overwrite.
    """
    target = config.to or usual
    if config.overwrite or not _taken(target):
        return target
    if config.to:
        raise InputError(f"{target}: exists; name another with --to, or pass --overwrite")
    return next(p for n in itertools.count(2) if not _taken(p := usual.with_stem(f"{usual.stem}-{n}")))


def _taken(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()


def render_frames(
    splats: Splats,
    cameras: Cameras,
    scene: StoredScene,
    config: RenderConfig,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Yields one 8-bit image after the other, so that a long video needs no more memory than a short one."""
    for index in counted(range(len(cameras)), progress, "frame"):
        with torch.no_grad():
            image = render(splats, cameras[index], config, backgrounds=scene.background[None]).colors[0]
        yield (image.clamp(0, 1) * 255).round().byte().numpy()


def median_depth(splats: Splats, cameras: Cameras) -> float:
    """Median depth of the splats as the middle camera sees them; 1 where it sees none."""
    with torch.no_grad():
        image = render(splats, cameras[len(cameras) // 2])
    seen = image.expected_depths[image.alphas > 0.5]
    return float(seen.median()) if seen.numel() else 1.0


def render_split(run: Run, config: Config) -> Path:
    """Writes colour and depth of every view of a split and returns their folder."""
    scene = splats_frame(run)
    splats = stored_splats(run, scene)
    folder = _target(config, run.path / "renders" / config.what)
    names, stems = getattr(scene, config.what), file_stems(scene.cameras)
    if not names:
        raise InputError(f"{run.path}: this run has no {config.what} views")
    with stage_bar("pictures") as progress:
        for name in counted(names, progress, "view"):
            camera = scene.cameras[name]
            camera = camera.resized(round(camera.width * config.scale), round(camera.height * config.scale))
            with torch.no_grad():
                image = render(splats, camera, config.render, backgrounds=scene.background[None])
            save_picture(folder / f"{stems[name]}.png", image.colors[0])
            save_depth(folder / f"{stems[name]}_depth", image.expected_depths[0, ..., 0])
    return folder
