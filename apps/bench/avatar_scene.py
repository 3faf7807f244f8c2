"""A random avatar of a given size in front of cameras: what its timings depend on, without a capture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gs_reg.fields.closed import LEVELS
from gs_reg.fields.coarse import CoarseField
from gs_reg.fields.detail import DetailField
from gs_reg.models.avatar import Avatar, AvatarConfig
from gs_reg.neighbors import nearest
from gs_reg.priors.types import UNIT_M, HeadPose, Track
from gs_reg.sh import rgb_to_sh
from gs_reg.types import Cameras, Splats, Views

CODES, BUMPS = 52, 1536
Field = Literal["bumps", "network"]
"""In closed form, as of priors that are meshes, or a network, as of others."""
FRAMES = 16
STILL = 0.5
"""Share of the Gaussians, those at the back and below, that no expression moves."""


@dataclass(frozen=True)
class AvatarScene:
    avatar: Avatar
    views: Views
    """Of one frame, with photos."""

    @property
    def codes(self) -> Tensor:
        return self.avatar.tracked


def avatar_scene(
    gaussians: int, width: int, height: int, cameras: int, config: AvatarConfig, field: Field = "bumps", seed: int = 0
) -> AvatarScene:
    """An egg of a head's size; its coarse field moves it by millimetres."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        directions = torch.nn.functional.normalize(torch.randn(gaussians, 3), dim=1)
        points = directions * torch.tensor([0.32, 0.45, 0.38])
        latent = 0.1 * torch.randn(gaussians, 8)
        coarse = CoarseField(CODES, linear=field == "bumps", bumps=BUMPS if field == "bumps" else 0)
        detail = DetailField(CODES)
        with torch.no_grad():
            for parameter in (coarse.basis if field == "bumps" else coarse.out.weight, detail.out.weight):
                parameter.copy_(0.01 * torch.randn_like(parameter))
            if coarse.bumps is not None:
                rows = torch.randperm(gaussians)[torch.arange(BUMPS) % gaussians]
                sizes = torch.cat([torch.full((round(share * BUMPS),), radius) for radius, share in LEVELS])
                coarse.bumps.place(points[rows], latent[rows], sizes[torch.arange(BUMPS) % len(sizes)])
        codes = torch.rand(FRAMES, CODES)
        colors = 0.5 + 0.3 * torch.sin(20 * points)
    pose = HeadPose(torch.eye(3).repeat(FRAMES, 1, 1), torch.zeros(FRAMES, 3), torch.ones(FRAMES), UNIT_M)
    track = Track(codes, pose, "random", tuple(f"{i:05d}" for i in range(FRAMES)))
    size = nearest(points, 3)[1].sqrt().mean(1, keepdim=True).log().expand(-1, 3).clone()
    quats = torch.tensor([1.0, 0, 0, 0]).repeat(gaussians, 1)
    cloud = Splats(points, quats, size, torch.full((gaussians,), 2.0), rgb_to_sh(colors)[:, None])
    avatar = Avatar.start(cloud, latent, coarse, detail, track, torch.zeros(CODES), codes[:8], config)
    with torch.no_grad():
        avatar.opacity_logits.fill_(2.0)
    views = Views(rig(cameras, width, height), torch.full((cameras, height, width, 3), 0.5), frame=1)
    return AvatarScene(avatar, Views(views.cameras, views.images, alphas=torch.ones(cameras, height, width), frame=1))


def rig(count: int, width: int, height: int) -> Cameras:
    """On an arc of 100 degrees, with the head filling the picture."""
    fov, up = 2 * math.atan(0.2 / 1.1), torch.tensor([0.0, 1.0, 0.0])
    angles = [math.radians(-50 + 100 * i / max(count - 1, 1)) for i in range(count)]
    eyes = [torch.tensor([1.1 * math.sin(a), 0.1, 1.1 * math.cos(a)]) for a in angles]
    return Cameras.joined([Cameras.look_at(eye, torch.zeros(3), up, fov, width, height) for eye in eyes])


def with_still(avatar: Avatar) -> None:
    """Marks the share of Gaussians that skip both fields."""
    depth = avatar.means[:, 2]
    avatar.moving.copy_(depth >= depth.quantile(STILL))
