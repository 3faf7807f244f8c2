"""Between nerfstudio's cameras (camera-to-world, x right, y up, z back) and ours (world-to-camera, OpenCV axes)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.types import Cameras, Views

PERSPECTIVE = 1
"""nerfstudio.cameras.cameras.CameraType.PERSPECTIVE."""


def our_camera(camera: Any, world_from_camera: Float[Tensor, "1 3 4"] | None = None) -> Cameras:
    """One camera of nerfstudio, with its own pose or the one given; gradients flow to the latter.

    Raises:
        InputError: it is no pinhole camera.
    """
    if int(camera.camera_type.flatten()[0]) != PERSPECTIVE:
        raise InputError("camera: expected a perspective one; fisheye and 360 degrees are not drawn by this method")
    pose = camera.camera_to_worlds.reshape(1, 3, 4) if world_from_camera is None else world_from_camera
    bottom = pose.new_tensor([[[0.0, 0.0, 0.0, 1.0]]])
    Ks = camera.get_intrinsics_matrices().reshape(1, 3, 3).to(pose)
    return Cameras.from_opengl(torch.cat([pose, bottom], 1), Ks, int(camera.width), int(camera.height))


def photo_of(image: Tensor) -> Float[Tensor, "H W D"]:
    """A photo of a batch, bytes or floats, as floats in [0, 1]."""
    return image.float() / 255 if image.dtype == torch.uint8 else image.float()


def training_views(manager: Any) -> list[Views]:
    """The training photos on the CPU, as our readers would give them; pixels without alpha are masked."""
    dataset, views = manager.train_dataset, []
    for i, data in enumerate(manager.cached_train):
        photo, mask = photo_of(data["image"].cpu()), data.get("mask")
        mask = None if mask is None else mask.cpu().bool().reshape(photo.shape[:2])
        if photo.shape[-1] == 4:
            seen = photo[..., 3] > 0.5
            mask = seen if mask is None else mask & seen
        name = str(dataset.image_filenames[i].name)
        masks = None if mask is None else mask[None]
        views.append(Views(our_camera(dataset.cameras[i : i + 1]), photo[None, ..., :3].contiguous(), (name,), masks))
    return views
