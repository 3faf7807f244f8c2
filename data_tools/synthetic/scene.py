"""Cameras on an arc, ray-cast photos with their exact depth, and the exact flow and visibility between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.geometry import pixel_centers, project, unproject
from gs_reg.types import Cameras, Scene, Views

from .shapes import Shape
from .texture import Texture

LIGHT = (-0.45, -0.75, -0.48)


@dataclass(frozen=True)
class Rig:
    """Cameras on a horizontal arc around the scene's target, held-out ones between the others."""

    width: int = 96
    height: int = 72
    cameras: int = 3
    """Training cameras."""
    held_out: int = 2
    """Test cameras, spread over the gaps between training cameras and a little above or below."""
    baseline: float = 0.3
    """Distance of neighbouring training cameras in world units; scenes are 3 to 6 units deep."""
    focal: float = 1.1
    """fx over the width."""
    aspect: float = 1.0
    """fy over fx."""
    principal: tuple[float, float] = (0.5, 0.5)
    """cx over the width, cy over the height."""
    octaves: int = 3
    """Octaves of texture; one more for each doubling of the size keeps the finest detail at some 4 px."""
    samples: int = 3
    """A pixel is the mean of samples x samples rays."""
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.cameras, self.octaves, self.samples) < 1 or self.held_out < 0:
            raise InputError("synthetic rig: width, height, cameras, octaves and samples must be at least 1")


@dataclass(frozen=True)
class Surface:
    """One object of a scene."""

    name: str
    shape: Shape
    texture: Texture


@dataclass(frozen=True)
class SyntheticScene:
    """Photos of known surfaces; training views first, then held-out ones. `depths` are exact camera-space z."""

    views: tuple[Views, ...]
    object_ids: tuple[Int[Tensor, "H W"], ...]
    """Row of `surfaces` seen at each pixel centre; -1 = none."""
    surfaces: tuple[Surface, ...]
    train_names: tuple[str, ...]
    test_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.views)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for view in self.views for name in view.names)

    @property
    def object_names(self) -> tuple[str, ...]:
        return tuple(surface.name for surface in self.surfaces)

    @property
    def train(self) -> tuple[Views, ...]:
        return self.views[: len(self.train_names)]

    @property
    def test(self) -> tuple[Views, ...]:
        return self.views[len(self.train_names) :]

    def training_scene(self) -> Scene:
        """The training photos alone, without their depths, as a loader would give them."""
        views = tuple(Views(view.cameras, view.photos, view.names) for view in self.train)
        return Scene(views, points=None, source_from_world=torch.eye(4, dtype=torch.float64))


def look_at(eye: Float[Tensor, "3"], target: Float[Tensor, "3"]) -> Float[Tensor, "4 4"]:
    """World-to-camera matrix of a level camera (world y points down)."""
    forward = F.normalize(target - eye, dim=0)
    right = F.normalize(torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0], dtype=eye.dtype), forward), dim=0)
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward])
    viewmat = torch.eye(4, dtype=eye.dtype)
    viewmat[:3, :3], viewmat[:3, 3] = rotation, -rotation @ eye
    return viewmat


def rig_cameras(rig: Rig, target: tuple[float, float, float]) -> Cameras:
    """Training cameras, then held-out ones, near the world's origin and turned half-way to the target."""
    train = torch.arange(rig.cameras, dtype=torch.float64) - (rig.cameras - 1) / 2
    gaps = (torch.arange(rig.held_out, dtype=torch.float64) + 0.5) / max(rig.held_out, 1) - 0.5
    # an even spread may fall on a training camera: move to the middle of the gap it is in
    test = (gaps * (rig.cameras - 1) - train[0]).floor().clamp(0, max(rig.cameras - 2, 0)) + 0.5 + train[0]
    spread = (torch.arange(rig.held_out, dtype=torch.float64) % 3 - 1) * 0.15
    steps = torch.cat([train, test + spread])
    lift = 0.3 * torch.cos(2.4 * steps + rig.seed)
    eyes = torch.stack([steps, lift, -0.05 * steps**2], dim=-1) * rig.baseline
    aim = torch.tensor(target, dtype=torch.float64)
    viewmats = torch.stack([look_at(eye, aim + eye * torch.tensor([0.5, 0.5, 0.0])) for eye in eyes])
    fx = rig.focal * rig.width
    cx, cy = rig.principal[0] * rig.width, rig.principal[1] * rig.height
    K = torch.tensor([[fx, 0, cx], [0, fx * rig.aspect, cy], [0, 0, 1]])
    return Cameras(viewmats.float(), K.repeat(len(eyes), 1, 1), rig.width, rig.height)


def build(rig: Rig, surfaces: Sequence[Surface], target: tuple[float, float, float]) -> SyntheticScene:
    """Photographs the surfaces with the rig."""
    cameras = rig_cameras(rig, target)
    names = [f"train_{i:02d}" for i in range(rig.cameras)] + [f"test_{i:02d}" for i in range(rig.held_out)]
    views, object_ids = [], []
    for i, name in enumerate(names):
        depths, ids, _ = cast(surfaces, cameras[i], pixel_centers(rig.width, rig.height, torch.zeros(1).double()))
        image = photograph(surfaces, cameras[i], rig.samples)
        views.append(Views(cameras[i], image[None], (name,), depths=depths.nan_to_num(posinf=0.0).float()[None]))
        object_ids.append(ids)
    train, test = tuple(names[: rig.cameras]), tuple(names[rig.cameras :])
    return SyntheticScene(tuple(views), tuple(object_ids), tuple(surfaces), train, test)


def cast(
    surfaces: Sequence[Surface], camera: Cameras, xy: Float[Tensor, "*B 2"]
) -> tuple[Float[Tensor, "*B"], Int[Tensor, "*B"], Float[Tensor, "*B 3"]]:
    """Depth (inf = nothing hit), surface row (-1 = none) and unit normal seen at pixel positions, in float64."""
    world_from_camera = camera.viewmats[0].double().inverse()
    K = camera.Ks[0].double()
    rays = F.pad((xy.double() - K[:2, 2]) / K.diagonal()[:2], (0, 1), value=1.0)
    directions = (rays @ world_from_camera[:3, :3].T).reshape(-1, 3)
    depths = torch.full((len(directions),), math.inf, dtype=torch.float64)
    ids = torch.full((len(directions),), -1, dtype=torch.int64)
    normals = torch.zeros_like(directions)
    for row, surface in enumerate(surfaces):
        t, n = surface.shape.cast(world_from_camera[:3, 3], directions)
        nearer = t < depths  # false for NaN = missed
        depths = torch.where(nearer, t, depths)
        ids = torch.where(nearer, row, ids)
        normals = torch.where(nearer[:, None], n, normals)
    shape = xy.shape[:-1]
    return depths.reshape(shape), ids.reshape(shape), normals.reshape(*shape, 3)


def photograph(surfaces: Sequence[Surface], camera: Cameras, samples: int) -> Float[Tensor, "H W 3"]:
    """Anti-aliased photo; colour and shading belong to the surface point, so all views agree on them."""
    shift = (torch.arange(samples, dtype=torch.float64) + 0.5) / samples - 0.5
    light = F.normalize(torch.tensor(LIGHT, dtype=torch.float64), dim=0)
    centers = pixel_centers(camera.width, camera.height, shift)
    image = torch.zeros(camera.height, camera.width, 3)
    for dy in shift:
        for dx in shift:
            xy = centers + torch.stack([dx, dy])
            depths, ids, normals = cast(surfaces, camera, xy)
            points = _points(camera, xy, depths.nan_to_num(posinf=0.0))
            shading = 0.78 + 0.22 * (normals @ light)
            for row, surface in enumerate(surfaces):
                seen = ids == row
                image[seen] += surface.texture(points[seen]) * shading[seen].float()[:, None]
    return image / samples**2


def _points(camera: Cameras, xy: Float[Tensor, "*B 2"], depths: Float[Tensor, "*B"]) -> Float[Tensor, "*B 3"]:
    """World points at camera-space depths behind pixel positions."""
    precise = camera.to(dtype=torch.float64)
    K = precise.Ks[0]
    rays = F.pad((xy - K[:2, 2]) / K.diagonal()[:2], (0, 1), value=1.0) * depths[..., None]
    pose = precise.world_from_camera[0]
    return rays @ pose[:3, :3].T + pose[:3, 3]


def flow(scene: SyntheticScene, i: int, j: int) -> tuple[Float[Tensor, "H W 2"], Bool[Tensor, "H W"]]:
    """Exact displacement (pixels) of view i's pixel centres to view j, and whether view j sees that very point.

    A point counts as seen when it lies in view j's frame and a fresh ray to it meets nothing before it.
    """
    source, target = (scene.views[k].cameras.to(dtype=torch.float64) for k in (i, j))
    centers = pixel_centers(source.width, source.height, source.Ks)
    depths, ids, _ = cast(scene.surfaces, source, centers)
    points = unproject(source, depths.nan_to_num(posinf=0.0)[None])[0]
    xy, z = (value[0] for value in project(target, points))
    inside = (xy >= 0).all(-1) & (xy[..., 0] <= target.width) & (xy[..., 1] <= target.height) & (z > 0)
    first, _, _ = cast(scene.surfaces, target, xy)
    visible = (ids >= 0) & inside & (first > z * (1 - 1e-6))
    return (xy - centers).float(), visible


def inverse_depth(scene: SyntheticScene, i: int) -> Float[Tensor, "H W"]:
    """1 / z of view i, as a perfect monocular depth network would give it; 0 where nothing is seen."""
    depths = scene.views[i].depths
    assert depths is not None
    return torch.where(depths > 0, 1 / depths, 0.0)[0]
