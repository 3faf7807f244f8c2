"""Pinhole cameras: constructors, crops, resizes and poses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.rotations import quat_to_rotmat
from gs_reg.tensor_dataclass import TensorDataclass

OPENGL = (1.0, -1.0, -1.0, 1.0)
"""Signs of our camera axes in those of OpenGL."""


@dataclass(frozen=True)
class Cameras(TensorDataclass):
    """C pinhole cameras of one image size. OpenCV axes: +x right, +y down, +z forward; pixel centres at +0.5."""

    viewmats: Float[Tensor, "C 4 4"]
    """World to camera."""
    Ks: Float[Tensor, "C 3 3"]
    """fx, fy, cx, cy in pixels; skew is ignored."""
    width: int
    height: int

    def __len__(self) -> int:
        return self.viewmats.shape[0]

    def __getitem__(self, index: int | slice | Tensor) -> Cameras:
        if isinstance(index, Tensor) and index.ndim == 0 and index.dtype != torch.bool:
            index = int(index)
        if isinstance(index, int):
            start = range(len(self))[index]
            index = slice(start, start + 1)
        return Cameras(self.viewmats[index], self.Ks[index], self.width, self.height)

    @property
    def world_from_camera(self) -> Float[Tensor, "C 4 4"]:
        # the check for a singular matrix would synchronise with the GPU: only on the CPU
        on_cpu = self.viewmats.device.type == "cpu"
        return torch.linalg.inv_ex(self.viewmats, check_errors=on_cpu).inverse

    @property
    def centers(self) -> Float[Tensor, "C 3"]:
        """Camera centres in the world."""
        return self.world_from_camera[:, :3, 3]

    def resized(self, width: int, height: int) -> Cameras:
        """The cameras for resized images; pixel corners are at integers, so K scales by the exact size ratios."""
        ratio = torch.tensor(
            [width / self.width, height / self.height, 1.0], dtype=self.Ks.dtype, device=self.Ks.device
        )
        return Cameras(self.viewmats, self.Ks * ratio[:, None], width, height)

    def cropped(self, left: int, top: int, width: int, height: int) -> Cameras:
        """The cameras for a crop with its corner at pixel (left, top); it may reach outside the image."""
        offset = torch.zeros(3, 3, dtype=self.Ks.dtype, device=self.Ks.device)
        offset[0, 2], offset[1, 2] = left, top
        return Cameras(self.viewmats, self.Ks - offset, width, height)

    def moved(self, world_from_model: Float[Tensor, "*#C 4 4"]) -> Cameras:
        """The cameras in the frame of a model with the given pose: one pose, or one for each camera.

        A splat at x in these cameras projects as one at `world_from_model` x does in the original ones. So a rigid pose
        (of a head, for example) needs no change of the splats, and its gradient is that of viewmats. A single camera
        may have many poses: it becomes as many cameras.

        Raises:
            ValueError: another number of poses than of cameras.
        """
        count, shape = len(self), list(world_from_model.shape)
        if shape not in ([4, 4], [1, 4, 4], [count, 4, 4]) and not (count == 1 and shape[1:] == [4, 4]):
            raise ValueError(f"moved: expected one pose [4, 4] or {count} of them, got {shape}")
        viewmats = self.viewmats @ world_from_model
        return Cameras(viewmats, self.Ks.expand(len(viewmats), 3, 3), self.width, self.height)

    @staticmethod
    def joined(parts: Sequence[Cameras]) -> Cameras:
        """All cameras of parts of one image size.

        Raises:
            ValueError: the sizes differ.
        """
        sizes = {(part.width, part.height) for part in parts}
        if len(sizes) != 1:
            raise ValueError(f"cameras: expected one image size, got {sorted(sizes)}")
        viewmats, Ks = torch.cat([part.viewmats for part in parts]), torch.cat([part.Ks for part in parts])
        return Cameras(viewmats, Ks, *sizes.pop())

    @staticmethod
    def from_opengl(
        world_from_camera: Float[Tensor, "C 4 4"], Ks: Float[Tensor, "C 3 3"], width: int, height: int
    ) -> Cameras:
        """From camera-to-world matrices with +x right, +y up, -z forward, as nerfstudio, Blender and OpenGL have."""
        flip = world_from_camera.new_tensor(OPENGL)
        return Cameras(torch.linalg.inv(world_from_camera * flip), Ks, width, height)

    @property
    def opengl_poses(self) -> Float[Tensor, "C 4 4"]:
        """Camera-to-world matrices as `from_opengl` takes them."""
        return self.world_from_camera * self.viewmats.new_tensor(OPENGL)

    @staticmethod
    def look_at(
        eye: Float[Tensor, "3"],
        target: Float[Tensor, "3"],
        up: Float[Tensor, "3"],
        fov_y: float,
        width: int,
        height: int,
    ) -> Cameras:
        """One camera at `eye` with `target` in the middle of its image and `up` pointing upwards in it.

        `fov_y` is the whole vertical field of view in radians; pixels are square.

        Raises:
            ValueError: `eye` equals `target`, or `up` is parallel to the line between them.
        """
        forward = F.normalize(target - eye, dim=0)
        right = torch.linalg.cross(forward, up)
        if not float(right.norm()) > 1e-6 * float(up.norm()):
            raise ValueError("look_at: expected eye and target apart, and up not along the line between them")
        right = F.normalize(right, dim=0)
        rotation = torch.stack([right, torch.linalg.cross(forward, right), forward])
        return _one_camera(rotation, eye, fov_y, width, height)

    @staticmethod
    def from_pose(
        wxyz: Float[Tensor, "4"], position: Float[Tensor, "3"], fov_y: float, width: int, height: int
    ) -> Cameras:
        """One camera as viewers describe it: camera-to-world rotation (OpenCV axes), position, vertical field of view
        in radians."""
        return _one_camera(quat_to_rotmat(wxyz).T, position, fov_y, width, height)


def _one_camera(
    rotation: Float[Tensor, "3 3"], position: Float[Tensor, "3"], fov_y: float, width: int, height: int
) -> Cameras:
    """From the world-to-camera rotation and the camera's position; the principal point is the middle of the image."""
    if not 0 < fov_y < math.pi:
        raise ValueError(f"fov_y: expected radians between 0 and pi, got {fov_y}")
    viewmat, K = torch.eye(4).to(rotation), torch.eye(3).to(rotation)
    viewmat[:3, :3], viewmat[:3, 3] = rotation, -rotation @ position
    K[0, 0] = K[1, 1] = height / (2 * math.tan(fov_y / 2))
    K[0, 2], K[1, 2] = width / 2, height / 2
    return Cameras(viewmat[None], K[None], width, height)
