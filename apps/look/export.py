"""`gs-reg export`: the splats of a run or of a file in another format, or as a mesh."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gs_reg.errors import InputError
from gs_reg.meshing import MeshConfig

from .mesh import check_mesh_target, mesh_axes, write_mesh
from .opened import ExportFrame, open_source, title_of
from .target import Writing, axes_of, check_target, write_splats


@dataclass(frozen=True)
class Config:
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|FILE")]
    """Folder of a run, or a splat file (.ply, .compressed.ply, .spz, .splat, .sog, .glb)."""
    to: Path | None = None
    """File to write; its ending chooses the format: .ply, .compressed.ply, .spz, .splat, .sog, .glb, .usdz, .usd, or
    .html (a page). A mesh is .ply or .glb, by default RUN/exports/mesh.ply."""
    format: Literal["splats", "mesh"] = "splats"
    """mesh: triangles with colours, of what the training cameras see (of a file: cameras around it)."""
    frame: ExportFrame = "local"
    """local: coordinates of the given cameras, less the run's offset where they are far from the origin; input: with
    it, rounded as float32 must; normalised: those of training, cameras about 1 from the origin; gravity: of a run, the
    local ones turned such that up is y and the first camera looks along -z."""
    mesh: MeshConfig = field(default_factory=MeshConfig)
    writing: Annotated[Writing, tyro.conf.OmitArgPrefixes] = Writing()


def main(config: Config) -> int:
    if config.format == "mesh":
        return _mesh(config)
    if config.to is None:
        raise InputError("--to is missing: the file to write; its ending chooses the format")
    if config.mesh != MeshConfig():
        raise InputError("--mesh.*: no effect without --format mesh")
    check_target(config.to, config.source, config.writing)
    opened = open_source(config.source, config.frame, config.writing.spz_frame, axes_of(config.to, config.writing))
    write_splats(config.to, opened, config.writing, title_of(config.source), noted=True)
    return 0


def _mesh(config: Config) -> int:
    if config.to is None and not config.source.is_dir():
        raise InputError("--to is missing: the .ply or .glb of the mesh")
    to = config.to or config.source / "exports" / "mesh.ply"
    check_mesh_target(to, config.writing.overwrite)
    opened = open_source(config.source, config.frame, config.writing.spz_frame, mesh_axes(to))
    if config.frame == "input" and opened.notes:
        raise InputError(
            "--frame input: a mesh of a scene far from the origin is written less its offset: leave it out"
        )
    write_mesh(to, opened, config.mesh)
    return 0
