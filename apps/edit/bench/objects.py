"""The objects of the bench: procedural shapes that no teacher was trained on, reconstructed from their photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from gs_reg.data_tools.synthetic.objects.cameras import orbit
from gs_reg.data_tools.synthetic.objects.colors import Paint, random_paint
from gs_reg.data_tools.synthetic.objects.dataset import shape_seed
from gs_reg.data_tools.synthetic.objects.families import PARTS, Object, make_object
from gs_reg.data_tools.synthetic.objects.gaussians import photos_of, splats_of
from gs_reg.fit import FitConfig, fit, shuffled
from gs_reg.init.hull import hull_splats
from gs_reg.io import load_splats, save_splats
from gs_reg.metrics import psnr
from gs_reg.models.free import Free, FreeConfig
from gs_reg.neighbors import nearest
from gs_reg.render import render
from gs_reg.shot import Shot
from gs_reg.state import State
from gs_reg.terms import cost_of
from gs_reg.terms.photometric import L1, Ssim
from gs_reg.types import Cameras, Splats, Views

FAMILIES = ("mug", "lamp", "chair", "bottle", "face", "car", "plant", "teapot")
PHOTO_RINGS = (-10.0, 15.0, 40.0)
HELD_OUT_RINGS = (5.0, 30.0)
"""Elevations in degrees: photos that are measured are never among those trained on, nor among label views."""
SURFACE = 20_000
"""Points of the true surface, whose nearest one says which part a Gaussian is of."""
FREE = FreeConfig(opacity=0.1, sh_degree=1, lr_offset=0.1, lr_scale=4e-2, lr_color=1e-2, max_aspect=8)


@dataclass(frozen=True)
class ObjectConfig:
    """How objects are reconstructed."""

    size: int = 128
    """Side of the photos in pixels."""
    photos: int = 24
    gaussians: int = 8000
    steps: int = 600


@dataclass(frozen=True, eq=False)
class BenchObject:
    item: Object
    look: Paint
    splats: Splats
    parts: Int[Tensor, "N"]
    """True part of each Gaussian, from 1; that of the nearest surface."""

    @property
    def name(self) -> str:
        return self.item.family

    def held_out(self, views: int, size: int, look: Paint | None = None) -> tuple[Views, Int[Tensor, "C H W"]]:
        """Photos over black that nothing was made from, of the object or of what an edit should make of it, and the
        part that each pixel shows (0 = none)."""
        return photographed(self.item, look or self.look, held_out_cameras(views, size))


def held_out_cameras(views: int, size: int) -> Cameras:
    return orbit(views, size, HELD_OUT_RINGS)


def photographed(item: Object, look: Paint, cameras: Cameras) -> tuple[Views, Int[Tensor, "C H W"]]:
    views, parts = photos_of(item, look, cameras, background=0.0)
    return views, torch.from_numpy(parts)


def bench_objects(folder: Path, config: ObjectConfig, families: Sequence[str] = FAMILIES) -> list[BenchObject]:
    """Reconstructed once; a later call reads the folder's files."""
    return [_object(family, folder, config) for family in families]


def _object(family: str, folder: Path, config: ObjectConfig) -> BenchObject:
    number = list(PARTS).index(family)
    item = make_object(family, shape_seed("test", number))
    look = random_paint(family, np.random.default_rng([number, 5]), grey=0.0, finished=0.0)
    settings = f"{config.size}_{config.photos}_{config.gaussians}_{config.steps}"
    path = folder / f"{family}_{settings}.ply"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        save_splats(path, reconstructed(item, look, config))
    splats = load_splats(path)
    return BenchObject(item, look, splats, true_parts(item, look, splats))


def reconstructed(item: Object, look: Paint, config: ObjectConfig) -> Splats:
    """Trained on photos of the object from known cameras over random colours, from random splats in its silhouettes."""
    views, _ = photographed(item, look, orbit(config.photos, config.size, PHOTO_RINGS))
    assert views.alphas is not None

    def shoot(step: int) -> Shot:
        view = views[shuffled(len(views), step, 0)]
        assert view.alphas is not None
        color = torch.rand(3, generator=torch.Generator().manual_seed(step))
        return Shot(replace(view, images=view.photos + (1 - view.alphas[..., None]) * color), background=color)

    start = hull_splats(views, config.gaussians, torch.zeros(3), 1.0, seed=0)
    settings = FitConfig(steps=config.steps)
    state = State.begin(Free.from_splats(start, FREE), settings.optim, None)
    for _ in fit(state, shoot, cost_of({"l1": L1(0.8), "ssim": Ssim(0.2)}), settings):
        pass
    with torch.no_grad():
        return replace(state.model.canonical().detach(), extra={})


def true_parts(item: Object, look: Paint, splats: Splats) -> Int[Tensor, "N"]:
    surface = splats_of(item, look, SURFACE)
    rows, _ = nearest(surface.means, 1, queries=splats.means)
    return surface.extra["part"][rows[:, 0]]


def quality(item: BenchObject, views: int, size: int) -> float:
    """PSNR over black of the reconstruction in held-out views."""
    photos, _ = item.held_out(views, size)
    images = render(item.splats, photos.cameras).colors.clamp(0, 1)
    return float(psnr(images, photos.photos).mean())
