"""A mesh with colours from splats: rendered depths of many cameras fused into a truncated signed distance (open3d)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from gs_reg.errors import InputError, MissingPart
from gs_reg.geometry import transform_points, unproject
from gs_reg.render import RenderConfig, render
from gs_reg.types import Cameras, Splats

CELLS = 256
"""Voxels along the diagonal of what the cameras see, by default."""
MAX_CELLS = 2048
TRUNCATION = 4.0
"""Voxels from the surface to where the signed distance is cut off."""


@dataclass(frozen=True)
class MeshConfig:
    """How splats become a mesh."""

    voxel: float = 0.0
    """Side of a voxel in units of the coordinates; 0 = 1/256 of the diagonal of what the cameras see."""
    depth_limit: float = 0.0
    """Surfaces farther from a camera are left out, in units of the coordinates; 0 = none beyond the farthest that 99 %
    of the pixels see."""
    min_alpha: float = 0.5
    """Pixels of a lower opacity show no surface."""
    min_faces: int = 100
    """Pieces of fewer triangles are left out."""


@dataclass(frozen=True)
class ColoredMesh:
    vertices: Float[Tensor, "V 3"]
    faces: Int[Tensor, "F 3"]
    colors: UInt8[Tensor, "V 3"]
    voxel: float
    """Side of the voxels that it was made of."""


@dataclass(frozen=True)
class DepthView:
    """What one camera sees of the splats."""

    camera: Cameras
    depths: Float[Tensor, "H W"]
    """Camera-space z; 0 = no surface there."""
    deviations: Float[Tensor, "H W"]
    """Standard deviation of z among the splats that make up a pixel: large where it sees two surfaces."""
    colors: UInt8[Tensor, "H W 3"]


def depth_view(splats: Splats, camera: Cameras, config: MeshConfig, drawing: RenderConfig) -> DepthView:
    z = transform_points(camera.viewmats[0], splats.means)[:, 2]
    image = render(splats, camera, drawing, features=z[:, None].square())
    assert image.features is not None
    alpha = image.alphas[0, ..., 0]
    depths = image.expected_depths[0, ..., 0]
    squares = image.features[0, ..., 0] / alpha.clamp_min(1e-10)
    seen = (alpha >= config.min_alpha) & (depths > 0)
    colors = image.colors[0] / alpha.clamp_min(1e-10)[..., None]
    return DepthView(
        camera,
        torch.where(seen, depths, 0.0),
        (squares - depths.square()).clamp_min(0).sqrt(),
        (colors.clamp(0, 1) * 255).round().byte(),
    )


@torch.no_grad()
def fuse(
    splats: Splats, cameras: Sequence[Cameras], config: MeshConfig | None = None, drawing: RenderConfig | None = None
) -> ColoredMesh:
    """The surface that the cameras see of the splats, in the splats' coordinates; each camera value holds one camera.

    Raises:
        InputError: the cameras see no surface, or the voxels are far too small for it.
        MissingPart: open3d is not installed.
    """
    config, drawing = config or MeshConfig(), drawing or RenderConfig()
    open3d = _open3d()
    views = [depth_view(splats, camera, config, drawing) for camera in cameras]
    limit = config.depth_limit or _usual_limit(views)
    views = list(_within(views, limit))
    size = _diagonal(views)
    voxel = config.voxel or size / CELLS
    if size / voxel > MAX_CELLS:
        raise InputError(f"--mesh.voxel: expected at least {size / MAX_CELLS:.3g} for this scene, got {voxel:g}")
    grid = _grid(open3d, voxel)
    for view in views:
        _integrate(open3d, grid, view, TRUNCATION * voxel, limit)
    mesh = _without_crumbs(grid.extract_triangle_mesh(weight_threshold=0.0).to_legacy(), config.min_faces)
    if not len(mesh.triangles):
        raise InputError("the cameras see no connected surface of these splats: try a larger --mesh.voxel")
    vertices, faces, order = _in_order(np.asarray(mesh.vertices), np.asarray(mesh.triangles))
    colors = torch.tensor(np.asarray(mesh.vertex_colors)[order], dtype=torch.float64)
    return ColoredMesh(
        torch.tensor(vertices, dtype=torch.float64),
        torch.tensor(faces, dtype=torch.int64),
        (colors * 255).round().clamp(0, 255).byte(),
        voxel,
    )


def _in_order(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
) -> tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"], Int[np.ndarray, "V"]]:
    """Vertices and faces by their places, and where each vertex was: open3d's threads leave them in any order."""
    order = np.lexsort(vertices.T)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    faces = rank[faces]
    first = faces.argmin(1)[:, None]
    faces = np.take_along_axis(faces, (first + np.arange(3)) % 3, 1)  # the same side stays outwards
    return vertices[order], faces[np.lexsort(faces.T[::-1])], order


def _grid(open3d: Any, voxel: float) -> Any:
    """Blocks of 8 x 8 x 8 voxels, made where a view sees a surface."""
    # not ScalableTSDFVolume: that of open3d 0.20 gives no triangles
    kind = open3d.core.float32
    return open3d.t.geometry.VoxelBlockGrid(
        attr_names=("tsdf", "weight", "color"),
        attr_dtypes=(kind, kind, kind),
        attr_channels=((1), (1), (3)),
        voxel_size=voxel,
        block_resolution=8,
        block_count=10_000,
    )


def _open3d() -> Any:
    try:
        return importlib.import_module("open3d")
    except ImportError as error:
        raise MissingPart("meshes need open3d: pip install 'gs-reg[mesh]'") from error


def _usual_limit(views: Sequence[DepthView]) -> float:
    seen = torch.cat([view.depths[view.depths > 0][::7] for view in views])
    if not len(seen):
        raise InputError("the cameras see no surface of these splats")
    return 1.02 * float(seen.sort().values[int(0.99 * (len(seen) - 1))])


def _within(views: Sequence[DepthView], limit: float) -> Iterator[DepthView]:
    for view in views:
        near = view.depths <= limit
        yield DepthView(view.camera, torch.where(near, view.depths, 0.0), view.deviations, view.colors)


def _diagonal(views: Sequence[DepthView]) -> float:
    """Of the box that holds all but the outer 1 % of what the views see, along each axis."""
    points = torch.cat([unproject(view.camera, view.depths[None])[0][view.depths > 0][::7] for view in views])
    if not len(points):
        raise InputError("--mesh.depth-limit: the cameras see nothing so near")
    ordered = points.sort(0).values
    low, high = (ordered[int(share * (len(points) - 1))] for share in (0.005, 0.995))
    return float((high - low).norm())


def _integrate(open3d: Any, grid: Any, view: DepthView, truncation: float, limit: float) -> None:
    """Adds a view but for pixels that see two surfaces at once: their depth is between them, on neither."""
    certain = view.deviations <= 3 * truncation
    depths = torch.where(certain, view.depths, 0.0).float().cpu().contiguous().numpy()
    if not depths.any():
        return
    picture = open3d.t.geometry.Image(depths)
    colors = open3d.t.geometry.Image((view.colors.float() / 255).cpu().contiguous().numpy())
    # its pixels are whole numbers rounded down, so that centres are at +0.5 as ours
    K = open3d.core.Tensor(view.camera.Ks[0].double().cpu().contiguous().numpy())
    pose = open3d.core.Tensor(view.camera.viewmats[0].double().cpu().contiguous().numpy())
    blocks = grid.compute_unique_block_coordinates(picture, K, pose, 1.0, limit, TRUNCATION)
    grid.integrate(blocks, picture, colors, K, K, pose, 1.0, limit, TRUNCATION)


def _without_crumbs(mesh: Any, min_faces: int) -> Any:
    piece, counts, _ = mesh.cluster_connected_triangles()
    piece, counts = torch.tensor(piece, dtype=torch.long), torch.tensor(counts, dtype=torch.long)
    if len(piece):
        mesh.remove_triangles_by_mask((counts[piece] < min_faces).numpy())
        mesh.remove_unreferenced_vertices()
    return mesh
