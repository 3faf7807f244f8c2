"""Fills regions that no photo shows: the background is extrapolated behind occlusion edges and past the image borders.

The splats are rendered from cameras between, beside and wider than the given ones. In holes of these renders, depth and
colour are interpolated from the far surfaces around the hole by push-pull (Gortler et al. 1996, section 6.2). Filled
splats are blurred and flagged `filled`, so they can be told from measured ones.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.geometry import unproject
from gs_reg.render import RenderConfig, render
from gs_reg.sh import rgb_to_sh
from gs_reg.types import Cameras, Splats

HOLE, SOLID = 0.5, 0.8
"""Alpha below which a pixel is a hole, and above which its depth and colour may fill holes."""
NEAR_SHARE = 0.3
"""A pixel is background if its inverse depth is in this lowest share of the range in the window around it."""
WINDOW = 0.08
"""Half the side of that window, as a share of the image's width."""
BEYOND = 0.5
"""Extrapolation of the given cameras away from their mean, as a share of their distance from it."""
RINGS = 0.5, 1.0, 1.5
"""Radii of rings of eight cameras around the mean camera, in distances of the farthest given camera from it."""
SIGMA = 0.7
"""Standard deviation of a filled splat, in units of the spacing of filled splats."""
OPACITY = 0.95
"""Opacity of a filled splat."""


@dataclass(frozen=True)
class FillConfig:
    border: float = 0.0
    """Extrapolate the background past the image borders by this share of the image size, and behind occlusion edges;
    0 = leave unseen regions empty."""
    stride: int = 2
    """Pixels from one filled splat to the next."""


@torch.no_grad()
def fill_unseen(splats: Splats, cameras: Sequence[Cameras], config: FillConfig) -> Splats:
    """Splats for the holes that appear in views near the given cameras; no rows where `border` is 0.

    Only the new splats are returned; their `extra["filled"]` is True.
    """
    scene = replace(splats, extra={})
    filled = [scene.rows(slice(0))]
    if config.border > 0:
        for camera in _novel_cameras(cameras, config.border):
            # each view is rendered with the splats of the views before, so no hole is filled twice
            filled.append(_fill_view(scene, camera, config.stride))
            scene = Splats.joined([scene, filled[-1]])
    new = Splats.joined(filled)
    return replace(new, extra={"filled": torch.ones(len(new), dtype=torch.bool)})


def _novel_cameras(cameras: Sequence[Cameras], border: float) -> Iterator[Cameras]:
    """The given cameras, then cameras between neighbours, beyond each of them and on rings around their mean.

    All have images that are wider by the border. The order matters: the first camera that sees a hole fills it.
    """
    centers = torch.cat([camera.centers for camera in cameras])
    poses = torch.cat([camera.world_from_camera for camera in cameras])
    yield from (_widened(camera, border) for camera in cameras)
    count = len(cameras)
    neighbors = torch.cdist(centers, centers).argsort(1)[:, 1:3]
    pairs = sorted({tuple(sorted((i, int(j)))) for i in range(count) for j in neighbors[i]})
    for i, j in pairs:
        for t in (0.5, 0.25, 0.75):
            yield _widened(_camera_at(cameras[i], torch.lerp(poses[i], poses[j], t)), border)
    for i in range(count):
        beyond = poses[i] + BEYOND * (poses[i] - poses.mean(0))
        yield _widened(_camera_at(cameras[i], beyond), border)
    mean = _camera_at(cameras[0], poses.mean(0)).world_from_camera[0]
    spread = (centers - mean[:3, 3]).norm(dim=1).max()
    for radius, angle in itertools.product(RINGS, torch.arange(8) * (math.pi / 4)):
        on_ring = mean.clone()
        on_ring[:3, 3] += radius * spread * (angle.cos() * mean[:3, 0] + angle.sin() * mean[:3, 1])
        yield _widened(_camera_at(cameras[0], on_ring), border)


def _camera_at(like: Cameras, pose: Float[Tensor, "4 4"]) -> Cameras:
    """A camera at a linear combination of camera-to-world matrices, with the nearest rotation to its linear part."""
    u, _, vt = torch.linalg.svd(pose[:3, :3])
    rigid = torch.eye(4, dtype=pose.dtype)
    rigid[:3, :3], rigid[:3, 3] = u @ vt, pose[:3, 3]
    return Cameras(torch.linalg.inv(rigid)[None], like.Ks, like.width, like.height)


def _widened(camera: Cameras, border: float) -> Cameras:
    """The camera with an image that is larger by the border on all four sides."""
    x, y = round(border * camera.width), round(border * camera.height)
    Ks = camera.Ks.clone()
    Ks[:, 0, 2] += x
    Ks[:, 1, 2] += y
    return Cameras(camera.viewmats, Ks, camera.width + 2 * x, camera.height + 2 * y)


def _fill_view(splats: Splats, camera: Cameras, stride: int) -> Splats:
    """Splats for the holes in the render of one camera."""
    image = render(splats, camera, RenderConfig(sh_degree=0))
    alpha = image.alphas[0, ..., 0]
    hole = alpha < HOLE
    grid = torch.zeros_like(hole)
    grid[stride // 2 :: stride, stride // 2 :: stride] = True
    fill = hole & grid
    inverse_depth = alpha / image.depths[0, ..., 0].clamp_min(1e-6)
    background = _background(inverse_depth, alpha > SOLID)
    if not fill.any() or not background.any():
        return splats.rows(slice(0))
    # colours are premultiplied by alpha
    known = torch.cat([image.colors[0] / alpha.clamp_min(1e-6)[..., None], inverse_depth[..., None]], -1).movedim(-1, 0)
    filled = push_pull(torch.where(background, known, 0.0), background[None].to(known))
    depth = 1 / filled[3].clamp_min(1e-6)
    means = unproject(camera, depth[None])[0][fill]
    log_scale = (SIGMA * stride * depth[fill] / camera.Ks[0, 0, 0]).log()
    sh = torch.zeros(len(means), *splats.sh.shape[1:], dtype=means.dtype)
    sh[:, 0] = rgb_to_sh(filled[:3].movedim(0, -1)[fill])
    quats = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=means.dtype).repeat(len(means), 1)
    return Splats(means, quats, log_scale[:, None].repeat(1, 3), torch.full_like(log_scale, OPACITY).logit(), sh)


def _background(inverse_depth: Float[Tensor, "H W"], solid: Bool[Tensor, "H W"]) -> Bool[Tensor, "H W"]:
    """The solid pixels that lie far, compared with the solid ones in a window around them."""
    half = max(1, round(WINDOW * inverse_depth.shape[1]))

    def max_filter(x: Tensor) -> Tensor:  # separable
        rows = F.max_pool2d(x[None, None], (1, 2 * half + 1), 1, (0, half))
        return F.max_pool2d(rows, (2 * half + 1, 1), 1, (half, 0))[0, 0]

    low = -max_filter(torch.where(solid, -inverse_depth, -torch.inf))
    high = max_filter(torch.where(solid, inverse_depth, 0.0))
    return solid & (inverse_depth <= low + NEAR_SHARE * (high - low))


def push_pull(values: Float[Tensor, "D H W"], weights: Float[Tensor, "1 H W"]) -> Float[Tensor, "D H W"]:
    """Values where the weight is 1; elsewhere they are blended with weighted means of ever coarser levels."""
    height, width = weights.shape[1:]
    if max(height, width) == 1:
        return values
    odd = (0, width % 2, 0, height % 2)
    padded = F.pad(weights, odd)
    mean = F.avg_pool2d(padded[None], 2)[0]
    coarse = F.avg_pool2d(F.pad(values * weights, odd)[None], 2)[0] / mean.clamp_min(1e-8)
    lower = push_pull(coarse, (4 * mean).clamp_max(1))
    size = (padded.shape[1], padded.shape[2])
    upper = F.interpolate(lower[None], size=size, mode="bilinear", align_corners=False)[0, :, :height, :width]
    return values * weights + upper * (1 - weights)
