"""How a job begins, and how it goes on: the scene is read and shown, then its run made or opened."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from gs_reg.diffusion.loading import check_family, folder_of, look_into
from gs_reg.diffusion.settings import read_settings
from gs_reg.errors import InputError
from gs_reg.io.atomic import atomic_path
from gs_reg.io.digest import file_sha256
from gs_reg.io.rows import RawRows

from ..runs.folder import Run, check_free, new_run, open_run, write_settings
from ..runs.progress import plural, say
from ..runs.resume import check_settings
from .checks import with_absolute_paths
from .config import SHADES, PartsConfig
from .job import Job
from .scene import EditScene, SceneConfig, open_scene

SIZE = 512
"""Longer side of pictures where no model says what it was made for."""
DECODED = "input.ply"
"""Of a run: the splats, where their file is no PLY."""
VIEWS = "views.json"


def look(config: PartsConfig, device: torch.device) -> EditScene:
    """Reads the scene and says what was understood; writes nothing that stays."""
    usual = model_size(config)  # also where a size is given: it looks whether the model is one
    size = config.size or usual
    settings = SceneConfig(config.cameras, config.up, config.views, size, SHADES[config.background])
    with tempfile.TemporaryDirectory() as folder:
        scene = open_scene(Path(config.data), settings, Path(folder) / DECODED, device, config.labels)
    cameras = scene.views.cameras
    for line in (*scene.notes, f"{plural(len(scene.views), 'view')} of {cameras.width}x{cameras.height}"):
        say(f"  {line}")
    return scene


def model_size(config: PartsConfig) -> int:
    """The side of pictures that --model was made for.

    Raises:
        InputError, MissingPart: it is no pipeline that could be used; found out before anything long starts.
    """
    if config.model is None:
        return SIZE
    folder = folder_of(config.model, config.allow_download)
    check_family(look_into(folder))
    settings = read_settings(folder)
    return SIZE if settings is None else settings.resolution


def start(config: PartsConfig, scene: EditScene, device: torch.device) -> Job:
    """A job in a new run, or in the one that --resume names."""
    sha256 = file_sha256(scene.source)
    if config.resume:
        run = open_run(config.out or config.home)
        check_settings(run, config)
        known = run.read_json(VIEWS)["source_sha256"]
        if known != sha256:
            raise InputError(f"{scene.source}: not the file that {run.path} began with; start a new run")
    else:
        run = _begin(config, scene, sha256)
    decoded = run.path / DECODED
    if decoded.is_file():
        scene = replace(scene, rows=replace(scene.rows, path=decoded))
    return Job(run, config, scene, device)


def _begin(config: PartsConfig, scene: EditScene, sha256: str) -> Run:
    check_free(config.out)
    cameras = scene.views.cameras.to("cpu")

    def fill(run: Run) -> None:
        write_settings(run, with_absolute_paths(config))
        views = {
            name: {"viewmat": cameras.viewmats[i].tolist(), "K": cameras.Ks[i].tolist()}
            for i, name in enumerate(scene.views.names)
        }
        size = [cameras.width, cameras.height]
        run.write_json(VIEWS, {"source": str(scene.source), "source_sha256": sha256, "size": size, "views": views})
        if scene.rows.path != scene.source:
            write_rows(run.path / DECODED, scene.rows)

    return new_run(config.out, config.home, fill)


def write_rows(path: Path, rows: RawRows) -> None:
    """The same bytes that they were read from."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(rows.head + rows.table.tobytes() + rows.tail)
