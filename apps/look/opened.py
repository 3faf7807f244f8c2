"""The splats that a command looks at or exports: of a run or of a file, in the frame that the user asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.geometry import shifted, similarity_scale, transform_cameras
from gs_reg.io import load_splats, read_tags
from gs_reg.io.frames import transform_splats
from gs_reg.io.opening import up_direction
from gs_reg.io.tags import RenderMode
from gs_reg.render import RenderConfig
from gs_reg.types import Cameras, Splats

from ..runs.folder import open_run
from .offset import offset_words, rounding
from .scene_file import StoredScene, splats_frame, stored_splats

Frame = Literal["local", "input", "normalised"]


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
    train: tuple[str, ...] = ()
    """Names of the photos that a run was trained on."""
    near: float | None = None
    """Depth from which splats are drawn, in the frame of the cameras."""
    render_mode: RenderMode = "default"
    """What the file says of how it is to be drawn."""
    frame: Frame = "local"
    input_from_splats: Float[Tensor, "4 4"] = field(default_factory=lambda: torch.eye(4, dtype=torch.float64))
    """From the coordinates of the splats to those of the given cameras."""
    units: str = "unknown"
    """Of the given cameras."""

    @property
    def up(self) -> Float[Tensor, "3"] | None:
        """Which way is up for the cameras, on average, in the frame of the splats; None without cameras."""
        return torch.tensor(up_direction(list(self.cameras.values()))) if self.cameras else None


def open_source(source: Path, frame: Frame, spz_frame: Literal["rub", "raw"] = "rub") -> Opened:
    """The splats of a run or a file in the given frame, and, for a run, its cameras in that frame.

    Raises:
        InputError: no splats there, or the normalised frame of a single file, which does not store it.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder of a run")
    if not source.is_dir():
        if frame == "normalised":
            raise InputError(f"{source}: only a run knows its normalised frame: name the run's folder, not a file")
        return _of_file(source, frame, spz_frame=spz_frame)
    run = open_run(source)
    scene = splats_frame(run)
    names = [*scene.train, *(name for name in scene.cameras if name not in scene.train)]
    cameras, near = {name: scene.cameras[name] for name in names}, RenderConfig().near
    if frame == "normalised":
        return Opened(
            run.splats,
            stored_splats(run, scene),
            cameras=cameras,
            train=tuple(scene.train),
            near=near,
            frame=frame,
            input_from_splats=scene.source_from_world,
            units=scene.units,
        )
    opened = _of_file(run.splats, frame, scene)
    matrix = scene.source_from_world if frame == "input" else scene.file_from_world
    cameras = {name: transform_cameras(matrix, camera.to(dtype=matrix.dtype)) for name, camera in cameras.items()}
    near *= similarity_scale(matrix)
    return replace(opened, cameras=cameras, train=tuple(scene.train), near=near, units=scene.units)


def _of_file(
    file: Path, frame: Frame, scene: StoredScene | None = None, spz_frame: Literal["rub", "raw"] = "rub"
) -> Opened:
    """The splats of a file, and the offset that it names, or else that of the run."""
    splats, tags = load_splats(file, spz_frame=spz_frame), read_tags(file)
    opened = Opened(file, splats, tags.offset, render_mode=tags.render_mode)
    if scene is not None and scene.offset.any():
        opened = replace(opened, offset=scene.offset.tolist())
    offset = opened.offset
    if offset is None or not any(offset):
        return replace(opened, frame="input")  # local is the same
    added = shifted(torch.eye(4), -torch.tensor(offset, dtype=torch.float64))
    if frame == "local":
        return replace(opened, notes=(offset_words(offset),), input_from_splats=added)
    opened = replace(opened, splats=transform_splats(added, splats), frame="input")
    # zeros, so that a run or a file that is made of it knows that nothing is left out
    return replace(opened, offset=(0.0, 0.0, 0.0), notes=(rounding(splats, offset, scene).words,))


def title_of(source: Path) -> str:
    """Name of the file or of the run: runs are runs/<name>/<time>, else the folder that --out named."""
    path = source.resolve()
    return path.parent.name if path.is_dir() and path.name[:8].isdigit() else path.name
