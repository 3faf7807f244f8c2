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
ExportFrame = Literal["local", "input", "normalised", "gravity"]


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
    frame: ExportFrame = "local"
    input_from_splats: Float[Tensor, "4 4"] = field(default_factory=lambda: torch.eye(4, dtype=torch.float64))
    """From the coordinates of the splats to those of the given cameras."""
    units: str = "unknown"
    """Of the given cameras."""

    @property
    def up(self) -> Float[Tensor, "3"] | None:
        """Which way is up for the cameras, on average, in the frame of the splats; None without cameras."""
        return torch.tensor(up_direction(list(self.cameras.values()))) if self.cameras else None


def open_source(
    source: Path, frame: ExportFrame, spz_frame: Literal["rub", "raw"] = "rub", axes: tuple[int, int, int] = (1, 1, 1)
) -> Opened:
    """The splats of a run or a file in the given frame, and, for a run, its cameras in that frame.

    `axes` are those of the file that is to be written: in gravity, its numbers are y up.

    Raises:
        InputError: no splats there, or the normalised frame or gravity of a single file, which stores neither.
    """
    if frame == "gravity":
        return _levelled(open_source(source, "local", spz_frame), axes)
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


def _levelled(opened: Opened, axes: tuple[int, int, int]) -> Opened:
    """Turned about the origin such that, in a file of these axes, up is y and the first camera looks along -z."""
    if opened.cameras is None or opened.up is None:
        raise InputError(
            f"{opened.file}: a file has no cameras, which tell where up is: name the folder of a run, not a file"
        )
    up = opened.up.double() / opened.up.double().norm()
    _, picture_down, forward = next(iter(opened.cameras.values())).viewmats[0, :3, :3].double()
    level = [direction - (direction @ up) * up for direction in (forward, -picture_down)]
    heading = level[0] if level[0].norm() > 0.2 else level[1]  # from straight above, the top of the picture is ahead
    heading = heading / heading.norm()
    turn = torch.eye(4, dtype=torch.float64)
    turn[:3, :3] = torch.tensor(axes).double()[:, None] * torch.stack([torch.linalg.cross(heading, up), up, -heading])
    cameras = {name: transform_cameras(turn, c.to(dtype=turn.dtype)) for name, c in opened.cameras.items()}
    return replace(
        opened,
        splats=transform_splats(turn, opened.splats),
        offset=None,
        notes=("turned such that up is y; scene.json has the way back",),
        cameras=cameras,
        frame="gravity",
        input_from_splats=opened.input_from_splats.double() @ turn.T,
    )


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
