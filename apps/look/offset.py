"""The offset of a run whose coordinates are far from the origin, in words, and what float32 would do without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.data_tools.world import offset_text
from gs_reg.geometry import project, transform_points
from gs_reg.io import load_splats
from gs_reg.types import Splats

from ..runs.folder import Run
from .scene_file import StoredScene


@dataclass(frozen=True)
class Rounding:
    """How far float32 moves splats in the coordinates of the given cameras."""

    units: float
    """Largest distance, in units of these coordinates."""
    pixels: float | None
    """Mean distance in the training photos, of splats that they show; None = no photos, or they show none."""

    @property
    def words(self) -> str:
        pixels = "" if self.pixels is None else f", in the photos by {self.pixels:.2g} pixels on average"
        return f"float32 rounds these coordinates: splats are moved by up to {self.units:.2g} units{pixels}"


def offset_words(offset: Sequence[float]) -> str:
    text = offset_text(torch.tensor(offset, dtype=torch.float64))
    return f"positions are those of the source less the offset {text} (--frame input adds it)"


def offset_figures(run: Run, scene: StoredScene) -> dict[str, Any]:
    """For result.json: the offset of the splats' file, and what float32 would do without it; empty where there is none.

    `scene` is that of `splats_frame`.
    """
    if not scene.offset.any():
        return {}
    offset = scene.offset.tolist()
    return {"offset": offset, "rounding_without_offset": asdict(rounding(load_splats(run.splats), offset, scene))}


def rounding(splats: Splats, offset: Sequence[float], scene: StoredScene | None) -> Rounding:
    """What float32 does to splats of a file, once the offset is added to them."""
    means, add = splats.means.double(), torch.tensor(offset, dtype=torch.float64)
    moved = (means + add).float().double() - add
    units = float((moved - means).norm(dim=1).max()) if len(means) else 0.0
    return Rounding(units, None if scene is None else _pixels(means, moved, scene))


def _pixels(means: Float[Tensor, "N 3"], moved: Float[Tensor, "N 3"], scene: StoredScene) -> float | None:
    world_from_file = torch.linalg.inv(scene.file_from_world)
    before, after = (transform_points(world_from_file, points) for points in (means, moved))
    distances = []
    for name in scene.train:
        camera = scene.cameras[name].to(dtype=torch.float64)
        (xy, z), (to, z_to) = project(camera, before), project(camera, after)
        inside = ((xy >= 0) & (xy < xy.new_tensor([camera.width, camera.height]))).all(-1) & (z > 0) & (z_to > 0)
        distances.append((to - xy).norm(dim=-1)[inside])
    found = torch.cat(distances)
    return float(found.mean()) if len(found) else None
