"""Lens distortion removed once, on load: which pinhole camera a photo becomes, and where its pixels come from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Float32
from numpy import ndarray

from gs_reg.errors import InputError

from ..readers.types import SourceCamera

if TYPE_CHECKING:
    from pycolmap import Camera
else:
    Camera = object  # pycolmap is imported where a camera is needed: without that, importing this module is quick

WIDEST = 1.5
"""Tangent of the largest angle off the axis that a pinhole image keeps (113 degrees across): wider wastes pixels."""

TWO_FOCALS = {
    "SIMPLE_PINHOLE": ("PINHOLE", 0),
    "SIMPLE_RADIAL": ("OPENCV", 3),
    "RADIAL": ("OPENCV", 2),
    "SIMPLE_FISHEYE": ("FISHEYE", 0),
    "SIMPLE_RADIAL_FISHEYE": ("OPENCV_FISHEYE", 3),
    "RADIAL_FISHEYE": ("OPENCV_FISHEYE", 2),
    "SIMPLE_DIVISION": ("DIVISION", 0),
}
"""Of each COLMAP model with one focal length: that with two, and how many distortion terms it has more."""
FLAT = frozenset({"SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV"})
"""Models that are a pinhole where their distortion is 0; a fisheye is not, though pycolmap calls it undistorted."""


@dataclass(frozen=True)
class Pinhole:
    """A camera without distortion, in pixels with the image corner at 0."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    @property
    def K(self) -> Float[ndarray, "3 3"]:
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])


def rescaled(camera: SourceCamera, width: int, height: int) -> SourceCamera:
    """The camera for the same picture at another size."""
    if (camera.width, camera.height) == (width, height):
        return camera
    colmap = colmap_camera(_two_focals(camera))
    colmap.rescale(width, height)
    return SourceCamera(colmap.model.name, tuple(colmap.params), width, height)


def _two_focals(camera: SourceCamera) -> SourceCamera:
    """The same camera by a model with fx and fy: one focal length cannot follow two ratios."""
    if camera.model not in TWO_FOCALS or len(camera.params) < 3:
        return camera
    model, zeros = TWO_FOCALS[camera.model]
    focal, *rest = camera.params
    return SourceCamera(model, (focal, focal, *rest, *(0.0,) * zeros), camera.width, camera.height)


def to_pinhole(camera: SourceCamera, keep: bool) -> tuple[Pinhole, bool]:
    """The pinhole camera that the photo becomes, and whether its pixels must move.

    Focal length and axes stay. The edges are cut to where every pixel is seen by the photo, or with `keep` moved out to
    where all of the photo is inside; at most 113 degrees across either way.
    """
    colmap = colmap_camera(camera)
    K = colmap.calibration_matrix()
    fx, fy, cx, cy = (float(x) for x in (K[0, 0], K[1, 1], K[0, 2], K[1, 2]))
    if camera.model in FLAT and colmap.is_undistorted():
        return Pinhole(fx, fy, cx, cy, camera.width, camera.height), False
    left, right, top, bottom = _edges(colmap, keep)
    x0, x1 = math.ceil(left * fx + cx - 1e-6), math.floor(right * fx + cx + 1e-6)
    y0, y1 = math.ceil(top * fy + cy - 1e-6), math.floor(bottom * fy + cy + 1e-6)
    if x1 - x0 < 16 or y1 - y0 < 16:
        raise InputError(
            f"lens distortion {camera.model} {camera.params} leaves {max(x1 - x0, 0)}x{max(y1 - y0, 0)} pixels of "
            f"{camera.width}x{camera.height}: check its parameters, or use --undistort keep"
        )
    return Pinhole(fx, fy, cx - x0, cy - y0, x1 - x0, y1 - y0), True


@lru_cache(maxsize=2)
def sampling_map(
    camera: SourceCamera, pinhole: Pinhole, start: int = 0, stop: int | None = None
) -> tuple[Float32[ndarray, "H W"], Float32[ndarray, "H W"], Bool[ndarray, "H W"]]:
    """Where each pinhole pixel lies in the photo: x, y with pixel centres at whole numbers; and if it is there.

    Of all rows, or of those from `start` to `stop`. The last two maps are kept, as the photos of a data set mostly
    share a camera.
    """
    colmap = colmap_camera(camera)
    x = (np.arange(pinhole.width) + 0.5 - pinhole.cx) / pinhole.fx
    y = (np.arange(pinhole.height) + 0.5 - pinhole.cy) / pinhole.fy
    reach = float(np.hypot(np.abs(x).max(), np.abs(y).max()))
    y = y[start:stop]
    shape = (len(y), len(x))
    rays = np.stack([*np.meshgrid(x, y), np.ones(shape)], axis=-1).reshape(-1, 3)
    xy = np.asarray(colmap.img_from_cam(rays))
    inside = np.isfinite(xy).all(1) & (xy >= 0).all(1) & (xy <= (camera.width, camera.height)).all(1)
    inside &= np.hypot(rays[:, 0], rays[:, 1]) < _turning_radius(colmap, reach)
    maps = (np.nan_to_num(xy) - 0.5).astype(np.float32).reshape(*shape, 2)
    return maps[..., 0], maps[..., 1], inside.reshape(shape)


def _turning_radius(colmap: Camera, reach: float) -> float:
    """Where on the way out from the axis the polynomial turns back: beyond, it names pixels that show other rays."""
    angles, radii = np.linspace(-np.pi, np.pi, 64, endpoint=False), np.linspace(0, reach, 513)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    rays = np.pad(radii[:, None, None] * directions, ((0, 0), (0, 0), (0, 1)), constant_values=1.0)
    xy = np.asarray(colmap.img_from_cam(rays.reshape(-1, 3))).reshape(*rays.shape[:2], 2)
    grows = ((xy[1:] - xy[:-1]) * directions).sum(-1) > 0
    return float("inf") if grows.all() else float(radii[np.argmin(grows.all(1))])


def colmap_camera(camera: SourceCamera) -> Camera:
    """The camera as pycolmap's, which knows every model.

    Raises:
        InputError: a model that pycolmap does not know, another number of parameters, or a panorama.
    """
    import pycolmap

    if camera.model not in pycolmap.CameraModelId.__members__:
        raise InputError(
            f"camera model {camera.model!r} is unknown: expected one of COLMAP's, such as PINHOLE or OPENCV"
        )
    colmap = pycolmap.Camera(
        model=camera.model, width=camera.width, height=camera.height, params=np.asarray(camera.params, dtype=float)
    )
    if not colmap.verify_params():
        raise InputError(f"camera model {camera.model}: {len(camera.params)} parameters, expected {colmap.params_info}")
    if colmap.is_spherical():
        raise InputError("panoramas (EQUIRECTANGULAR) cannot be read: cut them into perspective views first")
    return colmap


def _edges(colmap: Camera, keep: bool) -> tuple[float, float, float, float]:
    """Left, right, top, bottom of the undistorted picture, as tangents."""
    w, h = colmap.width, colmap.height
    s, t = np.linspace(0, w, 257), np.linspace(0, h, 257)
    sides = [(0 * t, t, 0), (0 * t + w, t, 0), (s, 0 * s, 1), (s, 0 * s + h, 1)]
    found = []
    for side, (x, y, axis) in enumerate(sides):
        rays = np.asarray(colmap.cam_ray_from_img(np.stack([x, y], axis=-1)))
        with np.errstate(divide="ignore", invalid="ignore"):
            tangent = np.where(rays[:, 2] > 0, rays[:, axis] / rays[:, 2], np.sign(rays[:, axis]) * np.inf)
        near = side in (0, 2)  # the left or top edge
        # No ray: the polynomial turns back before the rim. Then no crop is valid, and keeping goes to the limit.
        tangent = np.where(np.isfinite(rays).all(1), tangent, (-np.inf if near else np.inf) if keep else 0.0)
        inner, outer = (tangent.max, tangent.min) if near else (tangent.min, tangent.max)
        found.append(float(np.clip(outer() if keep else inner(), -WIDEST, WIDEST)))
    return found[0], found[1], found[2], found[3]
