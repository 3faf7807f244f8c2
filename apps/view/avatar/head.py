"""An avatar at one expression and head pose: its splats, drawn from cameras of the page."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from gs_reg.geometry import transform_cameras
from gs_reg.io.frames import transform_splats
from gs_reg.io.posed import plain_splats
from gs_reg.types import Cameras, Splats

from ...avatar.drawing import as_bytes, prepared_of, shown
from ...avatar.files import TrainedAvatar
from ...avatar.motions import neutral_pose
from ..frame import frame_around


@dataclass(frozen=True)
class Pose:
    """What the controls say."""

    code: Float[Tensor, "D"]
    world_from_canonical: Float[Tensor, "4 4"]
    """Of whatever drives it, or of the head at rest."""
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """To the subject's left, up, and to their left shoulder, in degrees, beyond that."""

    @property
    def matrix(self) -> Float[Tensor, "4 4"]:
        yaw, pitch, roll = (math.radians(angle) for angle in self.turn)
        turned = torch.eye(4, dtype=self.world_from_canonical.dtype)
        turned[:3, :3] = (_about(1, yaw) @ _about(0, -pitch) @ _about(2, -roll)).to(turned)
        return self.world_from_canonical @ turned


def _about(axis: int, angle: float) -> Float[Tensor, "3 3"]:
    """Right-handed; x is to the subject's left, y up, z out of the face."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out = torch.eye(3, dtype=torch.float64)
    out[i, i] = out[j, j] = math.cos(angle)
    out[j, i], out[i, j] = math.sin(angle), -math.sin(angle)
    return out


class Head:
    """Its splats are made once for each pose; threads of several browsers draw them."""

    def __init__(self, avatar: TrainedAvatar) -> None:
        self.avatar, model = avatar, avatar.model
        self.rest = Pose(avatar.details.neutral, neutral_pose(avatar).matrices()[0])
        self.screen = model.screen is not None
        self.pose = self.rest
        self._lock, self._made = threading.Lock(), (self.rest, None)
        with torch.no_grad():
            self._prepared = prepared_of(model)
            self.world_from_page = frame_around(self.posed().means)

    def draw(self, camera: Cameras, moving: bool, pose: Pose | None = None) -> UInt8[np.ndarray, "H W 3"]:
        """Over white, at the pose of the controls unless another is given.

        Without the network in screen space while the camera moves.
        """
        world = transform_cameras(self.world_from_page, camera.to("cpu", torch.float64))
        with self._lock, torch.no_grad():
            pose = self.pose if pose is None else pose
            splats, device = self._splats(pose), self.avatar.model.means.device
            cameras = world.to(device, torch.float32).moved(pose.matrix.to(device).float())
            return as_bytes(shown(self.avatar.model, splats, cameras, self.screen and not moving)[0])

    def posed(self) -> Splats:
        """In the world, as plain splats."""
        with self._lock, torch.no_grad():
            model, pose = self.avatar.model, self.pose
            splats = model.posed(pose.code.to(model.means), pose.matrix.to(model.means))
            return plain_splats(replace(splats.detach(), extra={}))

    def in_page(self) -> Splats:
        return transform_splats(torch.linalg.inv(self.world_from_page), self.posed().to("cpu"))

    def _splats(self, pose: Pose) -> Splats:
        """In the canonical frame."""
        before, splats = self._made
        if splats is None or before is not pose:
            model = self.avatar.model
            splats = model.deformed(pose.code.to(model.means), pose.matrix.to(model.means), self._prepared)
            self._made = pose, splats
        return splats
