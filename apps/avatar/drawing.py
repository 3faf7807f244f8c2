"""Pictures of an avatar: over white, at the tracked code and pose of a frame, or at any other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from gs_reg.models.avatar import Avatar
from gs_reg.models.avatar.motion import Ready
from gs_reg.models.rig_bound import RigBound
from gs_reg.render import RenderConfig, render
from gs_reg.types import Cameras, Render, Splats, Views

Head = Avatar | RigBound
SCREEN = ("screen",)
"""Columns that the network in screen space reads."""


def device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def draw(model: Head, views: Views, screen: bool = True) -> Float[Tensor, "C H W 3"]:
    """The pictures of the views' frame; `screen` = with the network in screen space, where the avatar has one."""
    views = replace(views, images=None, alphas=None, masks=None).to(device_of(model))
    cameras = model.cameras(views) if isinstance(model, Avatar) else views.cameras
    return shown(model, model(views), cameras, screen).clamp(0, 1)


def draw_posed(
    model: Head,
    code: Float[Tensor, "D"],
    pose: Float[Tensor, "4 4"],
    cameras: Cameras,
    screen: bool = True,
    prepared: Ready | None = None,
) -> Float[Tensor, "C H W 3"]:
    """Pictures at any code and world_from_canonical pose; `prepared` by the avatar, for many frames."""
    device = device_of(model)
    code, pose, cameras = code.to(device), pose.to(device).float(), cameras.to(device)
    if isinstance(model, Avatar):
        return shown(model, model.deformed(code, pose, prepared), cameras.moved(pose), screen).clamp(0, 1)
    return shown(model, model.posed(code, pose[:3, :3], pose[:3, 3]), cameras, screen).clamp(0, 1)


def prepared_of(model: Head) -> Ready | None:
    """What an avatar's fields make of its Gaussians before they know a code."""
    return model.prepare() if isinstance(model, Avatar) else None


def shown(model: Head, splats: Splats, cameras: Cameras, screen: bool) -> Float[Tensor, "C H W 3"]:
    network = model.screen if isinstance(model, Avatar) and screen else None
    features = None if network is None else splats.extra["screen"]
    white = torch.ones(len(cameras), 3).to(splats.means)
    image: Render = render(splats, cameras, RenderConfig(), features=features, backgrounds=white)
    return image.colors if network is None else network(image).colors


def as_bytes(picture: Float[Tensor, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    return (picture.detach().clamp(0, 1) * 255).round().byte().cpu().numpy()


@torch.no_grad()
def driven_frames(
    model: Head,
    codes: Float[Tensor, "T D"],
    poses: Float[Tensor, "T 4 4"],
    cameras: Cameras | Iterable[Cameras],
    screen: bool = True,
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """A picture for each code and pose, by one camera or by one a frame."""
    paths = [cameras] * len(codes) if isinstance(cameras, Cameras) else cameras
    prepared = prepared_of(model)
    for code, pose, camera in zip(codes, poses, paths, strict=True):
        yield as_bytes(draw_posed(model, code, pose, camera, screen, prepared)[0])
