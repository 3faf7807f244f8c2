"""Does the tracked head lie where the photos show it? Silhouettes of the prior's mesh against the masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.priors.types import ExpressionPrior
from gs_reg.types import Cameras

from .types import Capture

GOOD = 0.6
"""IoU from which on a silhouette fits; hair and clothes, which a prior has not, cost some."""
CLEARLY = 0.12
"""By which another reading must be better to be named."""
FACTORS = (0.125, 0.25, 0.5, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class SilhouetteCheck:
    """One camera at one frame."""

    camera: str
    frame: str
    iou: float
    mistake: str | None
    """What would explain a bad one; None = it fits, or nothing explains it."""
    iou_without: float
    """With that put right."""

    @property
    def good(self) -> bool:
        return self.iou >= GOOD


def check_silhouettes(capture: Capture, prior: ExpressionPrior, frames: Sequence[int]) -> tuple[SilhouetteCheck, ...]:
    """Every camera at some frames.

    Raises:
        InputError: the prior has no mesh.
    """
    found = []
    for frame in frames:
        head, faces = posed_head(capture, prior, frame)
        for c, name in enumerate(capture.camera_names):
            mask = capture.mask(frame, c).numpy() > 127
            camera = capture.cameras[c].to(dtype=torch.float64)
            pose = capture.tracks.pose[[frame]].matrices()[0].double()
            iou = _iou(silhouette(camera, head @ pose[:3, :3].T + pose[:3, 3], faces), mask)
            mistake, best = None, iou
            if iou < GOOD:
                for text, changed, placed in _readings(camera, pose, mask, head, faces):
                    other = _iou(silhouette(changed, head @ placed[:3, :3].T + placed[:3, 3], faces), mask)
                    if other > max(best, iou + CLEARLY):
                        mistake, best = text, other
            found.append(SilhouetteCheck(name, capture.frame_names[frame], iou, mistake, best))
    return tuple(found)


def verdict(checks: Sequence[SilhouetteCheck]) -> str:
    """One line on all of them."""
    ious = [check.iou for check in checks]
    text = f"silhouettes: IoU {np.mean(ious):.2f} on average, {min(ious):.2f} at worst"
    bad = [check for check in checks if not check.good]
    if not bad:
        return f"{text}: cameras, codes and poses fit the photos"
    mistakes = [check.mistake for check in bad if check.mistake]
    where = f"{len(bad)} of {len(checks)} do not fit, such as camera {bad[0].camera} at {bad[0].frame}"
    if not mistakes:
        return f"{text}: {where}: other codes, another prior or another person than those of the photos?"
    likely = max(dict.fromkeys(mistakes), key=mistakes.count)
    return f"{text}: {where}: likely {likely}"


def overlay(capture: Capture, prior: ExpressionPrior, frame: int, camera: int) -> UInt8[ndarray, "H W 3"]:
    """The photo with the mesh in blue, its mask's outline in green, the head's axes x, y, z in red, green, blue."""
    import cv2

    head, faces = posed_head(capture, prior, frame)
    pose = capture.tracks.pose[[frame]].matrices()[0].double()
    view = capture.cameras[camera].to(dtype=torch.float64)
    shape = silhouette(view, head @ pose[:3, :3].T + pose[:3, 3], faces)
    image = capture.photo(frame, camera).numpy().copy()
    image[shape] = (0.6 * image[shape] + 0.4 * np.array([40, 90, 255])).astype(np.uint8)
    outline, _ = cv2.findContours(
        (capture.mask(frame, camera).numpy() > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    cv2.drawContours(image, list(outline), -1, (0, 220, 0), 1)
    ends = torch.cat([torch.zeros(1, 3), torch.eye(3) * 0.4]).double() @ pose[:3, :3].T + pose[:3, 3]
    pixels = _projected(view, ends)[:, :2].round().astype(int)
    for end, color in zip(pixels[1:], ((255, 0, 0), (0, 200, 0), (0, 0, 255)), strict=True):
        cv2.line(image, pixels[0].tolist(), end.tolist(), color, max(1, image.shape[1] // 200))
    return image


def posed_head(capture: Capture, prior: ExpressionPrior, frame: int) -> tuple[Float[Tensor, "V 3"], Int[Tensor, "F 3"]]:
    """The prior's mesh at a frame, in the canonical frame.

    Raises:
        InputError: the prior has no mesh.
    """
    mesh = prior.posed_mesh(capture.tracks.codes[frame], capture.ident)
    if mesh is None:
        raise InputError(f"prior {prior.name}: it has no mesh to hold against the masks: check with a mesh prior")
    return mesh[0].double(), mesh[1]


def silhouette(camera: Cameras, vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Bool[ndarray, "H W"]:
    """Pixels whose centres the mesh covers."""
    from .synth import _kernels

    ids = np.full((camera.height, camera.width), -1, np.int32)
    points = _projected(camera, vertices).astype(np.float32)
    triangles = faces.numpy().astype(np.int32)
    no_holes, near = np.zeros((len(triangles), 3), np.float32), np.zeros(ids.shape, np.float32)
    _kernels.rasterize(points, triangles, no_holes, near, ids)
    return ids >= 0


def _projected(camera: Cameras, points: Float[Tensor, "V 3"]) -> Float[ndarray, "V 3"]:
    """Pixels and camera-space z; -1 for points that are not before the camera."""
    viewmat, K = camera.viewmats[0], camera.Ks[0]
    seen = points @ viewmat[:3, :3].T + viewmat[:3, 3]
    z = seen[:, 2:]
    image = (seen @ K.T)[:, :2] / z.abs().clamp_min(1e-6)
    return torch.cat([image, torch.where(z > 1e-6, z, -1.0)], dim=1).clamp(-1e6, 1e6).numpy()


def _iou(a: Bool[ndarray, "H W"], b: Bool[ndarray, "H W"]) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


Reading = tuple[str, Cameras, Float[Tensor, "4 4"]]


def _readings(
    camera: Cameras, pose: Float[Tensor, "4 4"], mask: Bool[ndarray, "H W"], head: Tensor, faces: Tensor
) -> list[Reading]:
    """What the files may have meant instead."""
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
    with_viewmat: Callable[[Tensor], Cameras] = lambda m: dataclasses.replace(camera, viewmats=m[None])  # noqa: E731
    viewmat, inverse = camera.viewmats[0], torch.linalg.inv(camera.viewmats[0])
    turned = pose.clone()
    turned[:3, :3] = pose[:3, :3].T
    readings = [
        ("axes flipped: the cameras are OpenGL's (y up, z back)", with_viewmat(flip @ viewmat), pose),
        ("poses inverted: camera-to-world matrices read as world-to-camera", with_viewmat(inverse), pose),
        ("poses inverted and axes flipped", with_viewmat(flip @ inverse), pose),
        ("axes of the world flipped: its y points down", with_viewmat(viewmat @ flip), pose),
        ("head rotations transposed", camera, turned),
    ]
    for factor in FACTORS:
        K = camera.Ks * torch.tensor([factor, factor, 1.0], dtype=torch.float64)[:, None]
        text = f"K not scaled: it fits pictures of {1 / factor:g} times the size"
        readings.append((text, dataclasses.replace(camera, Ks=K), pose))
    shape = silhouette(camera, head @ pose[:3, :3].T + pose[:3, 3], faces)
    if shape.any() and mask.any():
        shift = torch.from_numpy(_best_shift(shape, mask))
        K = camera.Ks.clone()
        K[0, :2, 2] += shift
        text = f"cx, cy dropped or of another crop: off by about ({shift[0]:.0f}, {shift[1]:.0f}) pixels"
        readings.append((text, dataclasses.replace(camera, Ks=K), pose))
    return readings


def _best_shift(shape: Bool[ndarray, "H W"], mask: Bool[ndarray, "H W"]) -> Float[ndarray, "2"]:
    """Pixels (x, y) that bring the silhouette onto the mask best: the peak of their correlation."""
    from scipy.signal import fftconvolve

    score = fftconvolve(mask.astype(float), shape[::-1, ::-1].astype(float))
    y, x = np.unravel_index(int(score.argmax()), score.shape)
    return np.array([x - (shape.shape[1] - 1), y - (shape.shape[0] - 1)], dtype=np.float64)
