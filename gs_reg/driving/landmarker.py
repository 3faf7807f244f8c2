"""MediaPipe's Face Landmarker, from the user's `.task` file: 52 scores and the head's pose of each frame of a video."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from gs_reg.driving.types import INDEX, Drive, filled
from gs_reg.errors import InputError, MissingPart, reading
from gs_reg.priors import HeadPose

log = logging.getLogger(__name__)

FOV_Y = math.radians(63)
"""Of the virtual camera that the model's pose is for."""
NEUTRAL = "_neutral"
"""Name of the first of the model's 52 scores; the other 51 are ARKit's without tongueOut."""


@dataclass(frozen=True)
class Face:
    arkit: Float[Tensor, "52"]
    """In the order of priors.ARKIT; tongueOut, which the model does not see, is 0."""
    matrix: Float[Tensor, "4 4"]
    """Head to the virtual camera: x right, y up, z towards the viewer, centimetres."""
    landmarks: Float[Tensor, "L 2"]
    """The model's landmarks in pixels."""


class Landmarker:
    """The model of a `.task` file; close it, or use it in a `with` block."""

    def __init__(self, task: str | Path) -> None:
        """
        Raises:
            MissingPart: mediapipe is not installed, or there is no such file.
            InputError: the file is no model of faces.
        """
        try:
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision
        except ImportError as error:
            raise MissingPart("driving by video needs mediapipe: pip install mediapipe") from error
        if not Path(task).is_file():
            raise MissingPart(f"{task}: no such file: give the path of MediaPipe's face_landmarker.task")
        with reading(task):
            options = vision.FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_path=str(task)),
                output_face_blendshapes=True,
                output_facial_transformation_matrixes=True,
            )
            self._net: Any = vision.FaceLandmarker.create_from_options(options)
        self._mediapipe = mediapipe

    def __enter__(self) -> Landmarker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Must be called before the interpreter ends, or mediapipe complains then."""
        self._net.close()

    def __call__(self, image: UInt8[np.ndarray, "H W 3"]) -> Face | None:
        """The largest face of a picture, None if there is none."""
        picture = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
        found = self._net.detect(picture)
        if not found.face_landmarks:
            return None
        arkit = torch.zeros(52)
        for score in found.face_blendshapes[0]:
            if score.category_name != NEUTRAL:
                arkit[INDEX[score.category_name]] = score.score
        matrix = torch.tensor(np.array(found.facial_transformation_matrixes[0]), dtype=torch.float32)
        height, width = image.shape[:2]
        places = torch.tensor([[width * mark.x, height * mark.y] for mark in found.face_landmarks[0]])
        return Face(arkit, matrix, places)


def track_faces(
    frames: Iterable[UInt8[np.ndarray, "H W 3"]],
    task: str | Path,
    fps: float,
    focal: float | None = None,
    name: str | Path = "video",
) -> Drive:
    """The drive in a video, as the model sees it: neither calibrated nor smoothed.

    `focal` is the camera's focal length in pixels, which the head's distance is in proportion to; None = that of the
    model's own camera; `name` is for what is said. Frames without a face are filled in from their neighbours.

    Raises:
        MissingPart: no mediapipe or no such file.
        InputError: no frames, or no face in any.
    """
    with Landmarker(task) as detect:
        faces: list[Face | None] = []
        height = 0
        for frame in frames:
            faces.append(detect(frame))
            height = frame.shape[0]
    if not faces:
        raise InputError(f"{name}: expected at least one frame, got none")
    seen = torch.tensor([face is not None for face in faces])
    known = [face for face in faces if face is not None]
    if not known:
        raise InputError(
            f"{name}: expected a face, found none in {len(faces)} frames: the head should look at the camera"
        )
    if len(known) < len(faces):
        missed = len(faces) - len(known)
        log.warning("%s: %d of %d frames show no face: filled in from their neighbours", name, missed, len(faces))
    pose = camera_pose(torch.stack([face.matrix for face in known]), height, focal)
    return filled(torch.stack([face.arkit for face in known]), pose, seen, fps)


def camera_pose(matrices: Float[Tensor, "T 4 4"], height: int, focal: float | None = None) -> HeadPose:
    """Poses in metres in the camera's frame (x right, y up, z towards the viewer) of the model's matrices."""
    linear = matrices[:, :3, :3]
    size = torch.linalg.det(linear).abs().pow(1 / 3)
    translation = matrices[:, :3, 3] / 100
    if focal is not None:
        translation = translation * translation.new_tensor([1, 1, focal / (height / 2 / math.tan(FOV_Y / 2))])
    return HeadPose(linear / size[:, None, None], translation, torch.ones_like(size))
