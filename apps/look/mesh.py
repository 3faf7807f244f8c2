"""`gs-reg export --format mesh`: a triangle mesh with vertex colours, by fusing rendered depths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from gs_reg.clean import scene_radius
from gs_reg.errors import InputError
from gs_reg.io.atomic import atomic_path
from gs_reg.io.gltf import AXES
from gs_reg.meshing import ColoredMesh, MeshConfig, fuse
from gs_reg.render import RenderConfig
from gs_reg.types import Cameras, Splats

from ..runs.progress import plural, say, stage_bar
from .frame_note import note_frame
from .opened import Opened

SUFFIXES = (".ply", ".glb")
ORBIT_CAMERAS, ORBIT_SIDE = 48, 384
FOCAL = 1.1
"""Of these cameras, in units of their side."""


def check_mesh_target(to: Path, overwrite: bool) -> None:
    if to.suffix.lower() not in SUFFIXES or to.name.lower().endswith(".compressed.ply"):
        raise InputError(f"{to}: expected the name of a mesh, ending with {' or '.join(SUFFIXES)}")
    if to.exists() and not overwrite:
        raise InputError(f"{to}: exists; name another file or pass --overwrite")


def mesh_axes(to: Path) -> tuple[int, int, int]:
    """The signs that turn our axes to those of the mesh in such a file."""
    return AXES if to.suffix.lower() == ".glb" else (1, 1, 1)


def write_mesh(to: Path, opened: Opened, config: MeshConfig) -> None:
    """Fuses what the training cameras see, or cameras all around where there are none, and writes the mesh."""
    near = RenderConfig().near if opened.near is None else opened.near
    if opened.cameras is None:
        cameras = cameras_around(opened.splats)
        near = min(near, 0.01 * scene_radius(opened.splats.means))
    else:
        cameras = [opened.cameras[name] for name in opened.train]
    with stage_bar("mesh") as progress:
        progress("fusing depths", 0.0)
        cameras = [camera.to(dtype=opened.splats.means.dtype) for camera in cameras]
        mesh = fuse(opened.splats, cameras, config, RenderConfig(near=near))
        save_mesh(to, mesh)
    say(
        f"wrote {to}: {plural(len(mesh.faces), 'triangle')}, {len(mesh.vertices):,} vertices, "
        f"voxels of {mesh.voxel:.3g} units, from {plural(len(cameras), 'camera')}, {to.stat().st_size / 1e6:.1f} MB"
    )
    for line in (*opened.notes, note_frame(to, opened, mesh_axes(to))):
        say(f"  {line}")


def save_mesh(to: Path, mesh: ColoredMesh) -> None:
    """In the coordinates of the splats; in a .glb below a node that turns them to glTF's axes, y up."""
    import trimesh
    from trimesh.visual import ColorVisuals

    shape = trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)
    shape.visual = ColorVisuals(shape, vertex_colors=mesh.colors.numpy())
    content = shape if to.suffix.lower() == ".ply" else trimesh.Scene()
    if isinstance(content, trimesh.Scene):
        content.add_geometry(shape, geom_name="mesh", transform=np.diag([*AXES, 1.0]))
    with atomic_path(to) as temporary:
        content.export(temporary, file_type=to.suffix.lower()[1:])


def cameras_around(splats: Splats) -> Sequence[Cameras]:
    """Cameras evenly on a sphere, which look at the middle of the splats from two and a half of their radii."""
    center = splats.means.median(0).values
    reach = (splats.means - center).norm(dim=1).sort().values
    distance = 2.5 * float(reach[int(0.9 * (len(reach) - 1))])
    i = torch.arange(ORBIT_CAMERAS, dtype=torch.float64) + 0.5
    height, turn = 1 - 2 * i / ORBIT_CAMERAS, math.pi * (1 + math.sqrt(5)) * i
    flat = (1 - height.square()).sqrt()
    back = torch.stack([flat * turn.cos(), height, flat * turn.sin()], 1)
    eyes, up = center.double() + distance * back, torch.tensor([0.0, -1, 0]).double()
    fov = 2 * math.atan(0.5 / FOCAL)
    return [Cameras.look_at(eye, center.double(), up, fov, ORBIT_SIDE, ORBIT_SIDE) for eye in eyes]
