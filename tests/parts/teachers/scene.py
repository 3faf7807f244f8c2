"""A ball on a slab of two colours, as splats, with the views and the true maps of both parts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.parts.types import PartMaps
from gs_reg.render import render
from gs_reg.sh import rgb_to_sh
from gs_reg.types import Cameras, Splats

SIZE = 48
VIEWS = ("000", "001", "002", "003")
PARTS = ("head", "body")


@dataclass(frozen=True, eq=False)
class TwoParts:
    splats: Splats
    parts: Bool[Tensor, "N 2"]
    cameras: Cameras
    pictures: Float[Tensor, "C H W 3"]
    alphas: Float[Tensor, "C H W"]
    maps: PartMaps
    """The truth."""


def two_parts(views: int = 4) -> TwoParts:
    torch.manual_seed(0)
    ball = torch.nn.functional.normalize(torch.randn(1500, 3), dim=1) * 0.35 + torch.tensor([0.0, 0.4, 0.0])
    slab = 2 * torch.rand(2500, 3) - 1
    slab = slab / slab.abs().amax(1, keepdim=True)  # on the sides of a cube
    slab = slab * torch.tensor([0.5, 0.25, 0.5]) + torch.tensor([0.0, -0.25, 0.0])
    means = torch.cat([ball, slab])
    of_ball = torch.arange(len(means)) < len(ball)
    colors = torch.where(of_ball[:, None], torch.tensor([0.8, 0.2, 0.2]), torch.tensor([0.2, 0.3, 0.8]))
    colors = colors + 0.03 * torch.randn(len(means), 3)
    quats = torch.zeros(len(means), 4)
    quats[:, 0] = 1
    splats = Splats(
        means,
        quats,
        torch.full((len(means), 3), math.log(0.03)),
        torch.full((len(means),), 2.0),
        rgb_to_sh(colors)[:, None],
    )
    cameras = Cameras.joined([_camera(2 * math.pi * c / views, 0.8 if c % 2 == 0 else -0.8) for c in range(views)])
    parts = torch.stack([of_ball, ~of_ball], 1)
    drawn = render(splats, cameras, features=parts.float())
    assert drawn.features is not None
    alphas = drawn.alphas[..., 0]
    maps = drawn.features.movedim(-1, 1) / alphas.clamp(min=1e-3)[:, None] * (alphas > 0.5)[:, None]
    truth = PartMaps(PARTS, (maps > 0.5).float(), torch.ones(views, 2))
    return TwoParts(splats, parts, cameras, drawn.colors, alphas, truth)


def _camera(turn: float, height: float) -> Cameras:
    eye = torch.tensor([2.5 * math.sin(turn), height, 2.5 * math.cos(turn)])
    return Cameras.look_at(eye, torch.zeros(3), torch.tensor([0.0, 1.0, 0.0]), math.radians(40), SIZE, SIZE)
