"""A procedural object whose part gets another colour: its Gaussians, and pictures before and after."""

from dataclasses import dataclass

import torch

from gs_reg.data_tools.synthetic.objects.cameras import orbit
from gs_reg.data_tools.synthetic.objects.colors import NAMES, Paint
from gs_reg.data_tools.synthetic.objects.families import make_object
from gs_reg.data_tools.synthetic.objects.gaussians import photos_of, splats_of
from gs_reg.types import Cameras, Splats, Views


@dataclass(frozen=True)
class Edited:
    splats: Splats
    chosen: torch.Tensor
    """The Gaussians of the part."""
    after: Splats
    """What the edit should come to."""
    cameras: Cameras
    photos: Views
    """Of the object after the edit, with the part's masks: the oracle."""


def recoloured(family="mug", part="handle", color="green", *, seed=1, count=1500, views=12, size=48) -> Edited:
    item = make_object(family, seed)
    row = item.parts.index(part)
    plain = ("blue", "red", "yellow", "purple", "orange")
    before = Paint(tuple(NAMES.index(name) for name in plain[: len(item.parts)]), (0,) * len(item.parts))
    look = before.changed(row, NAMES.index(color))
    splats, cameras = splats_of(item, before, count), orbit(views, size)
    photos, parts = photos_of(item, look, cameras, background=0.0)
    masks = torch.from_numpy(parts == row + 1)
    views_ = Views(cameras, photos.images, photos.names, masks=masks, depths=photos.depths, alphas=photos.alphas)
    return Edited(splats, splats.extra["part"] == row + 1, splats_of(item, look, count), cameras, views_)
