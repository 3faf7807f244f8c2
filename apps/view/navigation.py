"""Cameras of browsers: where a page opens, and jumps to the camera of a photo or of a path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.rotations import rotmat_to_quat
from gs_reg.types import Cameras

if TYPE_CHECKING:
    from viser import ClientHandle, ViserServer

NEAR, FAR = 1e-3, 1e3
"""Of what the browser draws, in the frame of the page, in which a scene is about 1 in size."""


def open_camera(server: ViserServer, first: Cameras, up: Float[Tensor, "3"], distance: float) -> None:
    """Lets each browser begin at this camera, `distance` before what it looks at, with the scene's up."""
    pose = first.world_from_camera[0].double()
    server.scene.set_up_direction(_tuple(up))
    camera = server.initial_camera
    camera.position = _tuple(pose[:3, 3])
    camera.look_at = _tuple(pose[:3, 3] + distance * pose[:3, 2])
    camera.up = _tuple(_level(pose, up))
    camera.fov = field_of_view(first, first.width / first.height)
    camera.near, camera.far = NEAR, FAR


def field_of_view(camera: Cameras, aspect: float) -> float:
    """Vertical, in radians, such that a window of this width over height shows the whole picture.

    A window has its principal point in the middle, a photo not always.
    """
    K = camera.Ks[0].double()
    right = max(float(K[0, 2]), camera.width - float(K[0, 2])) / float(K[0, 0])
    down = max(float(K[1, 2]), camera.height - float(K[1, 2])) / float(K[1, 1])
    return float(2 * np.arctan(max(down, right / aspect)))


def jump(client: ClientHandle, camera: Cameras, up: Float[Tensor, "3"], distance: float, fov: float | None) -> None:
    """Puts a browser's camera exactly there, `distance` before what it will turn about."""
    pose = camera.world_from_camera[0].double().cpu()
    handle = client.camera
    with client.atomic():
        handle.up_direction = _tuple(_level(pose, up))
        handle.position = _tuple(pose[:3, 3])
        handle.look_at = _tuple(pose[:3, 3] + distance * pose[:3, 2])
        if fov is not None:
            handle.fov = fov


def level_camera(camera: Cameras, up: Float[Tensor, "3"]) -> Cameras:
    """The camera turned about its line of sight such that `up` points upwards in its picture, where it can."""
    pose = camera.world_from_camera[0]
    if float(torch.linalg.cross(pose[:3, 2], up.to(pose)).norm()) < 1e-3:
        return camera
    eye = pose[:3, 3]
    return Cameras.look_at(eye, eye + pose[:3, 2], up.to(pose), vertical_fov(camera), camera.width, camera.height)


def vertical_fov(camera: Cameras) -> float:
    """In radians, of the first camera, as if its principal point were in the middle."""
    return 2 * float(torch.atan(camera.height / 2 / camera.Ks[0, 1, 1]))


def quaternion(camera: Cameras) -> tuple[float, float, float, float]:
    """Of camera to world, w first."""
    return tuple(rotmat_to_quat(camera.world_from_camera[0, :3, :3].double().cpu()).tolist())


def position(camera: Cameras) -> tuple[float, float, float]:
    return _tuple(camera.centers[0])


def _level(pose: Float[Tensor, "4 4"], up: Float[Tensor, "3"]) -> Float[Tensor, "3"]:
    """The up direction nearest to the scene's with which a camera that looks ahead has exactly this roll."""
    right, own = pose[:3, 0], -pose[:3, 1]
    level = up.double() - (up.double() @ right) * right
    return level if float(level @ own) > 0.1 else own


def _tuple(vector: Float[Tensor, "3"]) -> tuple[float, float, float]:
    x, y, z = torch.as_tensor(vector).tolist()
    return x, y, z
