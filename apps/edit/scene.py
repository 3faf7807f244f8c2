"""What is edited: the rows of a splat file in their own frame, and the cameras that look at them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.data_tools.photos.names import file_stems
from gs_reg.data_tools.readers.cameras import read_cameras
from gs_reg.errors import InputError
from gs_reg.geometry import transform_cameras
from gs_reg.io import read_offset
from gs_reg.io.rows import RawRows, read_rows
from gs_reg.render import RenderConfig, render
from gs_reg.types import Cameras, Splats, Views

from ..look.paths import interpolate, with_one_size
from ..look.scene_file import splats_frame
from ..runs.folder import open_run
from .orbit import Up, extent, orbit
from .renders import kept_renders, key_of

log = logging.getLogger("gs_reg")

SIDE = 16
"""Sides of pictures are multiples of it, as networks want them."""
SEEN = 1e-3
"""Mean alpha of a view that sees something."""
NEAR = 0.01
"""Depth from which splats are drawn, in radii of the object."""


@dataclass(frozen=True)
class EditScene:
    source: Path
    """The file whose rows are edited."""
    rows: RawRows
    views: Views
    """Cameras in the frame of the file, with renders, alphas and depths; sorted by no rule but named."""
    background: Float[Tensor, "3"]
    render: RenderConfig
    radius: float
    notes: tuple[str, ...]
    """What was understood of the input, a line each."""
    key: str
    """Of the pictures of its views, as renders.key_of says."""

    @property
    def splats(self) -> Splats:
        return self.rows.splats


@dataclass(frozen=True)
class SceneConfig:
    """Where the splats are seen from, and how large."""

    cameras: Path | None = None
    up: Up = "y-down"
    views: int = 48
    size: int = 512
    background: float | None = None


def open_scene(
    source: Path, config: SceneConfig, decoded: Path, device: torch.device, kept: Path | None = None
) -> EditScene:
    """A run's folder or a splat file; formats other than PLY are decoded to a PLY at `decoded` first.

    Pictures of its views that lie in the folder `kept` are not drawn again.

    Raises:
        InputError: no splats, no cameras, or cameras that see nothing.
    """
    if not source.exists():
        raise InputError(f"{source}: no such splat file or folder of a run")
    run = open_run(source) if source.is_dir() else None
    file = run.splats if run else source
    rows = read_rows(file, decoded)
    dropped = len(rows.table) - len(rows.splats)
    notes = [f"{len(rows.table):,} splats of {file}"]
    if dropped:
        notes.append(f"{dropped} of them have values that are not finite: they are not drawn and stay as they are")
    background = torch.ones(3)
    if config.cameras is not None:
        named = _moved(read_cameras(config.cameras), read_offset(file))
        notes.append(f"{len(named)} cameras of {config.cameras}")
    elif run is not None:
        scene = splats_frame(run)
        background = scene.background
        matrix = scene.file_from_world
        names = [*scene.train, *(name for name in scene.cameras if name not in scene.train)]
        named = {n: transform_cameras(matrix, scene.cameras[n].to(dtype=torch.float64)) for n in names}
        notes.append(f"{len(named)} cameras of the run")
    else:
        named = {}
    _, radius = extent(rows.splats)
    if named:
        names, cameras = _chosen(named, config.views, config.size)
        if len(cameras) > len(named):
            notes.append(f"{len(cameras) - len(named)} more on a path through them, as only {len(named)} are given")
    else:
        cameras = orbit(rows.splats, config.up, config.views, config.size)
        names = tuple(f"orbit_{i:03d}" for i in range(len(cameras)))
        notes.append(f"no cameras: {len(cameras)} on rings around it, {config.up.replace('-', ' ')} being up (--up)")
    if config.background is not None:
        background = torch.full((3,), config.background)
    settings = RenderConfig(near=min(RenderConfig().near, NEAR * radius))
    key = key_of(rows.splats, cameras, names, background, settings, device)
    views = None if kept is None else kept_renders(kept, key, cameras, names, device)
    if views is None:
        views = _seeing(draw_views(rows.splats, cameras, names, background, settings, device), config.cameras or source)
    return EditScene(file, rows, views, background, settings, radius, tuple(notes), key)


def _moved(named: Mapping[str, Cameras], offset: tuple[float, float, float] | None) -> dict[str, Cameras]:
    """The cameras in the file's coordinates, which leave out an offset."""
    if offset is None:
        return dict(named)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, 3] = -torch.tensor(offset, dtype=torch.float64)
    return {name: transform_cameras(matrix, camera) for name, camera in named.items()}


def _chosen(named: Mapping[str, Cameras], views: int, size: int) -> tuple[tuple[str, ...], Cameras]:
    """Evenly picked ones where there are more than `views`; else all, and others on a smooth path through them."""
    stems, names = file_stems(named), list(named)
    if len(names) > views:
        names = [names[round(i * (len(names) - 1) / max(views - 1, 1))] for i in range(views)]
    given = with_one_size([named[name] for name in names])
    longest = max(given.width, given.height)
    width, height = (max(SIDE, SIDE * round(size * side / longest / SIDE)) for side in (given.width, given.height))
    given, labels = given.resized(width, height).to(dtype=torch.float32), [stems[name] for name in names]
    more = views - len(names)
    if more <= 0 or len(names) < 2:
        return tuple(labels), given
    between = interpolate(given, more + 2)[1:-1]
    return (*labels, *(f"path_{i:03d}" for i in range(more))), Cameras.joined([given, between])


@torch.no_grad()
def draw_views(
    splats: Splats,
    cameras: Cameras,
    names: tuple[str, ...],
    background: Float[Tensor, "3"],
    config: RenderConfig,
    device: torch.device,
) -> Views:
    """Pictures, alphas and depths of all cameras; one at a time, so that memory does not grow with their number."""
    splats, cameras = replace(splats, extra={}).to(device), cameras.to(device)
    parts = []
    for i in range(len(cameras)):
        image = render(splats, cameras[i], config, backgrounds=background[None].to(device))
        alphas, depths = image.alphas[..., 0], image.expected_depths[..., 0]
        parts.append(Views(cameras[i], image.colors.clamp(0, 1), (names[i],), alphas=alphas, depths=depths))
    return Views.stack(parts)


def _seeing(views: Views, where: Path) -> Views:
    """The views that see something.

    Raises:
        InputError: none does.
    """
    assert views.alphas is not None
    seen = (views.alphas.mean((1, 2)) > SEEN).nonzero()[:, 0].tolist()
    if not seen:
        raise InputError(
            f"{where}: none of {len(views)} cameras sees a splat: are they of this file, and in its coordinates? "
            "Without --cameras they are put around it"
        )
    if len(seen) < len(views):
        log.warning("%d of %d cameras see no splat: left out", len(views) - len(seen), len(views))
    return Views.stack([views[i] for i in seen])
