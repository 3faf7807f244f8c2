"""Cameras and points that cannot be, refused by name before anything divides by them or rounds them to float32."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from gs_reg.errors import InputError

from .photos.undistort import colmap_camera
from .readers.types import SourceCamera

LONGEST_SIDE = 1e6
"""Pixels."""
FOCALS = 1e-3, 1e5
"""Focal length over the picture's long side: from past any fisheye to past any telescope."""
OFF_CENTER = 1e4
"""Principal point over the picture's long side."""
FARTHEST = 1e12
"""Units of the source from its origin, and of the world to a point: float32 has squares up to 1e38."""


def check_camera(camera: SourceCamera, place: str) -> None:
    """Here rather than in every reader, so that no later step divides by a focal length of 0."""
    if not (camera.width > 0 and camera.height > 0 and np.isfinite(camera.params).all()):
        raise InputError(f"{place}: intrinsics {camera.params} for {camera.width}x{camera.height} pixels: mend them")
    side = max(camera.width, camera.height)
    if side > LONGEST_SIDE:  # COLMAP's cameras have no room for some of these
        raise InputError(f"{place}: {camera.width:g}x{camera.height:g} pixels: no camera has that")
    try:
        K = colmap_camera(camera).calibration_matrix()
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
    focal = K.diagonal()[:2]
    if not (focal > 0).all():
        raise InputError(f"{place}: focal length {focal[0]:g}, {focal[1]:g}: expected > 0")
    if not ((focal > FOCALS[0] * side) & (focal < FOCALS[1] * side)).all():
        size = f"{camera.width:g}x{camera.height:g}"
        raise InputError(f"{place}: focal length {focal[0]:g}, {focal[1]:g} for {size} pixels: no camera has that")
    if np.abs(K[:2, 2]).max() > OFF_CENTER * side:
        raise InputError(f"{place}: principal point {K[0, 2]:g}, {K[1, 2]:g}: far outside the picture")
    if np.abs(camera.params).max() > np.finfo(np.float32).max:
        raise InputError(f"{place}: intrinsics {camera.params}: too large")


def check_pose(pose: Float[ndarray, "4 4"], place: str) -> None:
    if not np.isfinite(pose).all():
        raise InputError(f"{place}: the pose has values that are not finite: mend or remove this camera")
    rotation = pose[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise InputError(f"{place}: the pose has no rotation (rows must be orthonormal, determinant +1)")
    if np.abs(pose[:3, 3]).max() > FARTHEST:
        raise InputError(
            f"{place}: the camera is {np.abs(pose[:3, 3]).max():.3g} units from the origin: expected < 1e12"
        )


def check_points(points: Float[Tensor, "P 3"], place: str) -> None:
    """Points of the normalised world.

    Raises:
        InputError: some are not finite or farther off than any photo can tell.
    """
    bad = ~(points.abs() < FARTHEST).all(1)
    if bad.any():
        values = ", ".join(f"{x:.3g}" for x in points[bad][0].tolist())
        raise InputError(
            f"{place}: {int(bad.sum())} of {len(points)} points are not finite or over-large, such as ({values}) in "
            "the world: mend or remove them"
        )
