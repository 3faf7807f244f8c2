"""A path of cameras through keyframes, and its file: the camera-path JSON of nerfstudio's viewer and ns-render."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError, reading
from gs_reg.geometry import transform_cameras
from gs_reg.io.atomic import atomic_path
from gs_reg.types import Cameras

from ..look.paths import interpolate

MOST_KEYFRAMES, MOST_FRAMES, MOST_SIDE = 1000, 100_000, 8192


@dataclass(frozen=True)
class CameraPath:
    keyframes: tuple[Cameras, ...]
    """One camera each, of the size of the video."""
    seconds: float
    fps: float

    @property
    def count(self) -> int:
        return max(round(self.seconds * self.fps), 2)

    def cameras(self) -> Cameras:
        """Of the frames: a smooth path through the keyframes in their order, at an even speed.

        Raises:
            InputError: no keyframes, or too many frames.
        """
        if not self.keyframes:
            raise InputError("the camera path is empty: add views to it")
        if not 2 <= self.count <= MOST_FRAMES:
            raise InputError(f"camera path: expected 2 to {MOST_FRAMES} frames, got {self.count}")
        return interpolate(Cameras.joined(self.keyframes), self.count, reorder=False)


def save_path(file: Path, path: CameraPath, file_from_page: Float[Tensor, "4 4"]) -> None:
    """Writes keyframes and frames in the coordinates of the splat file.

    Raises:
        InputError: as CameraPath.cameras().
    """
    frames, first = path.cameras(), path.keyframes[0]
    aspect = first.width / first.height
    keyframes = [
        {
            "matrix": matrix,
            "fov": fov,
            "aspect": aspect,
            "override_transition_enabled": False,
            "override_transition_sec": None,
        }
        for matrix, fov in _poses(Cameras.joined(path.keyframes), file_from_page)
    ]
    data = {
        "default_fov": keyframes[0]["fov"],
        "default_transition_sec": path.seconds / max(len(keyframes) - 1, 1),
        "keyframes": keyframes,
        "camera_type": "perspective",
        "render_height": first.height,
        "render_width": first.width,
        "fps": path.fps,
        "seconds": path.seconds,
        "is_cycle": False,
        "smoothness_value": 0.5,
        "camera_path": [
            {"camera_to_world": matrix, "fov": fov, "aspect": aspect} for matrix, fov in _poses(frames, file_from_page)
        ],
    }
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def load_path(file: Path, file_from_page: Float[Tensor, "4 4"]) -> CameraPath:
    """The keyframes of such a file, ours or nerfstudio's; the frames where it has no keyframes.

    Raises:
        InputError: no such file, or something in it is no camera.
    """
    with reading(file):
        data = json.loads(file.read_text(encoding="utf-8"))
        width, height = _side(data["render_width"]), _side(data["render_height"])
        stored = [(key["matrix"], key["fov"]) for key in data.get("keyframes", ())]
        stored = stored or [(frame["camera_to_world"], frame["fov"]) for frame in data["camera_path"]]
        if not 0 < len(stored) <= MOST_KEYFRAMES:
            raise ValueError(f"expected 1 to {MOST_KEYFRAMES} keyframes, got {len(stored)}")
        page_from_file = torch.linalg.inv(file_from_page)
        keyframes = tuple(_camera(matrix, fov, width, height, page_from_file) for matrix, fov in stored)
        seconds, fps = float(data["seconds"]), float(data["fps"])
        if not (0 < seconds < math.inf and 0 < fps < math.inf):
            raise ValueError(f"expected seconds and fps above 0, got {seconds} and {fps}")
    return CameraPath(keyframes, seconds, fps)


def _poses(cameras: Cameras, file_from_page: Float[Tensor, "4 4"]) -> list[tuple[list[float], float]]:
    """Of each camera its pose in the file's coordinates, by rows with OpenGL axes, and its field of view in degrees."""
    moved = transform_cameras(file_from_page, cameras.to(dtype=torch.float64))
    fovs = 2 * torch.atan(moved.height / 2 / moved.Ks[:, 1, 1])
    return [
        (pose.flatten().tolist(), math.degrees(fov))
        for pose, fov in zip(moved.opengl_poses, fovs.tolist(), strict=True)
    ]


def _camera(matrix: Any, fov: Any, width: int, height: int, page_from_file: Float[Tensor, "4 4"]) -> Cameras:
    pose = torch.tensor(matrix, dtype=torch.float64).reshape(4, 4)
    if not pose.isfinite().all() or not 0 < float(fov) < 180:
        raise ValueError("a keyframe that is no camera")
    K = torch.eye(3, dtype=torch.float64)
    K[0, 0] = K[1, 1] = height / 2 / math.tan(math.radians(float(fov)) / 2)
    K[0, 2], K[1, 2] = width / 2, height / 2
    camera = transform_cameras(page_from_file, Cameras.from_opengl(pose[None], K[None], width, height))
    return camera.to(dtype=torch.float32)


def _side(value: Any) -> int:
    side = int(value)
    if not 16 <= side <= MOST_SIDE:
        raise ValueError(f"expected sides of 16 to {MOST_SIDE} pixels, got {side}")
    return side
