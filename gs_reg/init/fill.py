"""Surfaces that no photo saw: the far layer is carried on behind edges and beyond the photos' borders.

Cameras between, beside and wider than the given ones look at the splats; where they see nothing, depth and colour come
from the far surfaces around the hole, by push-pull (Gortler et al. 1996, section 6.2). What is made up is blurred and
flagged, so that it can be told from what was seen.
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
"""Alpha below which a pixel is a hole, and above which it may lend its colour."""
NEAR_SHARE = 0.3
"""A pixel belongs to the far layer if it lies in the lower share of the inverse depths around it."""
REACH = 0.08
"""Half side of "around", of the picture's width."""
BESIDE = 0.5
"""How far beyond the outermost cameras, of their distance from the middle."""
AROUND = 0.5, 1.0, 1.5
"""Radii of the rings of eight cameras around the middle, in the distance of the outermost camera from it."""
SIGMA = 0.7
"""Standard deviation of a new splat in pixels of its spacing."""
OPACITY = 0.95


@dataclass(frozen=True)
class FillConfig:
    border: float = 0.0
    """Carry surfaces on beyond the photos' borders by this share of their size, and behind edges; 0 = leave unseen
    regions empty."""
    stride: int = 2
    """Pixels from one made-up splat to the next."""


@torch.no_grad()
def fill_unseen(splats: Splats, cameras: Sequence[Cameras], config: FillConfig) -> Splats:
    """New splats for what a visitor near the cameras would see as holes; none where `border` is 0.

    Its `extra["filled"]` is all True.
    """
    known = replace(splats, extra={})
    made = [known.rows(slice(0))]
    if config.border > 0:
        for camera in _lookouts(cameras, config.border):
            made.append(_fill_view(known, camera, config.stride))
            known = Splats.joined([known, made[-1]])
    new = Splats.joined(made)
    return replace(new, extra={"filled": torch.ones(len(new), dtype=torch.bool)})


def _lookouts(cameras: Sequence[Cameras], border: float) -> Iterator[Cameras]:
    """The cameras, places between neighbours, beyond the outermost and around the middle; all with wider pictures."""
    centers = torch.cat([camera.centers for camera in cameras])
    poses = torch.cat([camera.world_from_camera for camera in cameras])
    yield from (_widened(camera, border) for camera in cameras)
    count = len(cameras)
    near = torch.cdist(centers, centers).argsort(1)[:, 1:3]
    pairs = sorted({tuple(sorted((i, int(j)))) for i in range(count) for j in near[i]})
    for i, j in pairs:
        for t in (0.5, 0.25, 0.75):
            yield _widened(_mixed(cameras[i], torch.lerp(poses[i], poses[j], t)), border)
    for i in range(count):
        beyond = poses[i] + BESIDE * (poses[i] - poses.mean(0))
        yield _widened(_mixed(cameras[i], beyond), border)
    middle = _mixed(cameras[0], poses.mean(0)).world_from_camera[0]
    spread = (centers - middle[:3, 3]).norm(dim=1).max()
    for radius, turn in itertools.product(AROUND, torch.arange(8) * (math.pi / 4)):
        beside = middle.clone()
        beside[:3, 3] += radius * spread * (turn.cos() * middle[:3, 0] + turn.sin() * middle[:3, 1])
        yield _widened(_mixed(cameras[0], beside), border)


def _mixed(like: Cameras, pose: Float[Tensor, "4 4"]) -> Cameras:
    """A camera at a mean of poses: the rotation nearest to the mixed one."""
    u, _, vt = torch.linalg.svd(pose[:3, :3])
    rigid = torch.eye(4, dtype=pose.dtype)
    rigid[:3, :3], rigid[:3, 3] = u @ vt, pose[:3, 3]
    return Cameras(torch.linalg.inv(rigid)[None], like.Ks, like.width, like.height)


def _widened(camera: Cameras, border: float) -> Cameras:
    x, y = round(border * camera.width), round(border * camera.height)
    Ks = camera.Ks.clone()
    Ks[:, 0, 2] += x
    Ks[:, 1, 2] += y
    return Cameras(camera.viewmats, Ks, camera.width + 2 * x, camera.height + 2 * y)


def _fill_view(splats: Splats, camera: Cameras, stride: int) -> Splats:
    """Splats for the holes of one picture."""
    image = render(splats, camera, RenderConfig(sh_degree=0))
    alpha = image.alphas[0, ..., 0]
    hole = alpha < HOLE
    grid = torch.zeros_like(hole)
    grid[stride // 2 :: stride, stride // 2 :: stride] = True
    chosen = hole & grid
    inverse = alpha / image.depths[0, ..., 0].clamp_min(1e-6)
    source = _far_layer(inverse, alpha > SOLID)
    if not chosen.any() or not source.any():
        return splats.rows(slice(0))
    known = torch.cat([image.colors[0] / alpha.clamp_min(1e-6)[..., None], inverse[..., None]], -1).movedim(-1, 0)
    filled = push_pull(torch.where(source, known, 0.0), source[None].to(known))
    depth = 1 / filled[3].clamp_min(1e-6)
    means = unproject(camera, depth[None])[0][chosen]
    size = (SIGMA * stride * depth[chosen] / camera.Ks[0, 0, 0]).log()
    sh = torch.zeros(len(means), *splats.sh.shape[1:], dtype=means.dtype)
    sh[:, 0] = rgb_to_sh(filled[:3].movedim(0, -1)[chosen])
    quats = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=means.dtype).repeat(len(means), 1)
    return Splats(means, quats, size[:, None].repeat(1, 3), torch.full_like(size, OPACITY).logit(), sh)


def _far_layer(inverse_depth: Float[Tensor, "H W"], solid: Bool[Tensor, "H W"]) -> Bool[Tensor, "H W"]:
    """Solid pixels that lie far, compared with the solid ones around them."""
    reach = max(1, round(REACH * inverse_depth.shape[1]))

    def highest(x: Tensor) -> Tensor:
        rows = F.max_pool2d(x[None, None], (1, 2 * reach + 1), 1, (0, reach))
        return F.max_pool2d(rows, (2 * reach + 1, 1), 1, (reach, 0))[0, 0]

    low = -highest(torch.where(solid, -inverse_depth, -torch.inf))
    high = highest(torch.where(solid, inverse_depth, 0.0))
    return solid & (inverse_depth <= low + NEAR_SHARE * (high - low))


def push_pull(values: Float[Tensor, "D H W"], weights: Float[Tensor, "1 H W"]) -> Float[Tensor, "D H W"]:
    """Values where the weight is 1, and smooth ones from ever coarser means where it is below."""
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
