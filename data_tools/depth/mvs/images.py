"""A photo at the resolution of the matching, and how its pixels reproject into another one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int16
from numpy import ndarray

from gs_reg.types import Cameras, Views

GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue (ITU-R BT.601)."""


@dataclass(frozen=True)
class Image:
    """Reference or source image of multi-view stereo."""

    rgb: Int16[ndarray, "H W 3"]
    """0 to 255; signed, so that differences do not wrap around."""
    grey: Float[ndarray, "H W"]
    """0 to 255."""
    mask: Bool[ndarray, "H W"]
    cameras: Cameras


def make_image(view: Views, max_pixels: float) -> Image:
    """The photo with at most `max_pixels`, and its camera at that size."""
    import cv2

    image = view.photos[0].clamp(0, 1).float().numpy()
    height, width = image.shape[:2]
    mask = np.ones((height, width), np.uint8) if view.masks is None else view.masks[0].numpy().astype(np.uint8)
    ratio = min(1.0, (max_pixels / (height * width)) ** 0.5)
    cameras = view.cameras
    if ratio < 1:
        size = max(2, round(width * ratio)), max(2, round(height * ratio))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
        cameras = cameras.resized(*size)
    grey = np.ascontiguousarray(image @ GREY * 255)
    return Image(np.round(image * 255).astype(np.int16), grey, mask.astype(bool), cameras)


def reprojection(ref: Image, other: Image) -> tuple[Float[ndarray, "3 3"], Float[ndarray, "3"]]:
    """M and b: pixel p (homogeneous, centres at +0.5) at inverse depth w is seen in `other` at M p + b w."""
    relative = other.cameras.viewmats[0].double().numpy() @ np.linalg.inv(ref.cameras.viewmats[0].double().numpy())
    k, k_other = ref.cameras.Ks[0].double().numpy(), other.cameras.Ks[0].double().numpy()
    return k_other @ relative[:3, :3] @ np.linalg.inv(k), k_other @ relative[:3, 3]


def plane_homography(
    reprojection: tuple[Float[ndarray, "3 3"], Float[ndarray, "3"]], w: float
) -> Float[ndarray, "3 3"]:
    """Pixels of the reference image to pixels of the other over the fronto-parallel plane 1/z = w."""
    h = reprojection[0].copy()
    h[:, 2] += reprojection[1] * w
    return h.astype(np.float32)


def reproject(
    ref: Image, other: Image, w: Float[ndarray, "H W"]
) -> tuple[Float[ndarray, "H W 2"], Float[ndarray, "H W"], Bool[ndarray, "H W"]]:
    """Where pixels at inverse depth w lie in `other`: position, inverse depth there, and whether in the picture."""
    m, b = reprojection(ref, other)
    height, width = w.shape
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    p = m[:, 0] * x[None, :, None] + m[:, 1] * y[:, None, None] + m[:, 2] + b * w[..., None]
    front = p[..., 2] > 1e-9
    z = np.where(front, p[..., 2], 1.0)
    q = p[..., :2] / z[..., None]
    rows, columns = other.grey.shape
    inside = front & (q >= 0).all(-1) & (q[..., 0] < columns) & (q[..., 1] < rows)
    # p is scaled by z of the reference view, so p_z is the ratio of the two depths and w / p_z the other's 1/z
    return q, w / z, inside
