"""Sparse points of posed photos, from matched keypoints: which views overlap, and in which range of depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.geometry import project
from gs_reg.types import Cameras, Views

from .aliked import Aliked
from .triangulate import ray_in_other, triangulate

LONG_SIDE = 1000
"""Keypoints are sought in photos reduced to this many pixels."""
MOST = 4000
"""Keypoints of a photo."""
EPIPOLAR_PX = 1.5
SIFT_RATIO, ALIKED_RATIO = 0.85, 1.0
"""ALIKED's mutual best matches need no second look: on nine photos round a table they give 72 points a pair, 19 at
0.85."""
MATCH_SD_PX = 0.7
FEWEST = 8
"""Fewer triangulated points than this are taken for chance."""
WORST_SD = 0.3
"""Points with a larger standard deviation, relative to the median inverse depth, say nothing of depth."""


class NoSharedPoints(InputError):
    """Photos that share no visible surface with any other; `names` are theirs."""

    def __init__(self, message: str, names: tuple[str, ...]):
        super().__init__(message)
        self.names = names


@dataclass(frozen=True)
class Overlap:
    """What one view shares with the others."""

    sources: tuple[int, ...]
    """The views to match with, best first."""
    bounds: tuple[float, float]
    """Smallest and largest inverse depth of the points that it sees."""


@dataclass(frozen=True)
class _Keypoints:
    xy: Float[Tensor, "P 2"]
    descriptors: Float[Tensor, "P D"]
    """Of unit length."""
    ratio: float
    """A match must be this much nearer than the second best."""


def find_overlaps(views: Sequence[Views], max_sources: int, aliked: Path | None = None) -> tuple[Overlap, ...]:
    """Matches keypoints of every pair, triangulates them under the given cameras, picks each view's partners and range.

    Raises:
        NoSharedPoints: views have no triangulated points with any other; the message names the first, and its best.
    """
    points = pair_points(views, aliked)
    found = [_overlap(views, points, i, max_sources) for i in range(len(views))]
    apart = [overlap for overlap in found if isinstance(overlap, NoSharedPoints)]
    if apart:
        raise NoSharedPoints(str(apart[0]), tuple(name for error in apart for name in error.names))
    return tuple(overlap for overlap in found if isinstance(overlap, Overlap))


def pair_points(views: Sequence[Views], aliked: Path | None = None) -> dict[tuple[int, int], Float[Tensor, "_ 3"]]:
    """World points (float64) that both views of every ordered pair see, from matched keypoints and the cameras.

    The keypoints are SIFT's, or those of ALIKED where its weights are named.
    """
    network = None if aliked is None else Aliked(aliked)
    keypoints = [_keypoints(view) if network is None else _learned_keypoints(view, network) for view in views]
    points: dict[tuple[int, int], Tensor] = {}
    for i in range(len(views)):
        for j in range(i + 1, len(views)):
            points[i, j] = points[j, i] = _triangulated(views[i].cameras, views[j].cameras, keypoints[i], keypoints[j])
    return points


def _keypoints(view: Views) -> _Keypoints:
    import cv2

    image = (view.photos[0] * 255).round().byte().numpy()
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    ratio = min(1.0, LONG_SIDE / max(grey.shape))
    small = cv2.resize(grey, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA) if ratio < 1 else grey
    mask = None
    if view.masks is not None:
        mask = cv2.resize(view.masks[0].numpy().astype(np.uint8), small.shape[::-1], interpolation=cv2.INTER_NEAREST)
    found, descriptors = cv2.SIFT.create(nfeatures=MOST, contrastThreshold=0.003).detectAndCompute(small, mask)
    if not found:  # then OpenCV 5.0 has no descriptors, 5.1 an empty array
        return _Keypoints(torch.zeros(0, 2), torch.zeros(0, 128), SIFT_RATIO)
    # OpenCV counts pixel centres from 0; ours lie at +0.5.
    xy = (torch.tensor([k.pt for k in found]) + 0.5) * torch.tensor(
        [grey.shape[1] / small.shape[1], grey.shape[0] / small.shape[0]]
    )
    root = torch.from_numpy(descriptors)
    root = (
        root / root.sum(-1, keepdim=True).clamp_min(1e-6)
    ).sqrt()  # Hellinger kernel: Arandjelovic and Zisserman 2012
    return _Keypoints(xy, root, SIFT_RATIO)


def _learned_keypoints(view: Views, network: Aliked) -> _Keypoints:
    import cv2

    image = view.photos[0].clamp(0, 1).float()
    ratio = min(1.0, LONG_SIDE / max(image.shape[:2]))
    small = image
    if ratio < 1:
        small = torch.from_numpy(cv2.resize(image.numpy(), None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA))
    xy, descriptors = network(small, MOST)
    xy = xy * torch.tensor([image.shape[1] / small.shape[1], image.shape[0] / small.shape[0]])
    if view.masks is not None:
        column, row = xy.long().unbind(-1)
        kept = view.masks[0][row.clamp_max(image.shape[0] - 1), column.clamp_max(image.shape[1] - 1)]
        xy, descriptors = xy[kept], descriptors[kept]
    return _Keypoints(xy, descriptors, ALIKED_RATIO)


def _triangulated(camera: Cameras, other: Cameras, a: _Keypoints, b: _Keypoints) -> Float[Tensor, "P 3"]:
    """World points of the mutual best matches that agree with the epipolar geometry and lie before both cameras."""
    none = torch.zeros(0, 3, dtype=torch.float64)
    if len(a.xy) < 2 or len(b.xy) < 2:
        return none
    similarity = a.descriptors @ b.descriptors.T  # of unit vectors: |a - b|^2 = 2 - 2 a.b
    best, index = similarity.topk(2, dim=1)
    distance = (2 - 2 * best).clamp_min(0).sqrt()
    mutual = similarity.argmax(0)[index[:, 0]] == torch.arange(len(a.xy))
    keep = mutual & (distance[:, 0] <= a.ratio * distance[:, 1])
    pa, pb = a.xy[keep].double(), b.xy[index[keep, 0]].double()
    rays, shift = ray_in_other(camera, other, pa)
    result = triangulate(
        rays[:, None],
        shift.expand_as(rays)[:, None],
        pb[:, None],
        torch.ones(len(pa), 1, dtype=torch.float64),
        MATCH_SD_PX,
    )
    scale = max(camera.width, camera.height) / LONG_SIDE
    w = result.inverse_depth.clamp_min(1e-6 * result.sd)
    good = (result.residual < EPIPOLAR_PX * max(1.0, scale)) & result.front
    good &= (result.inverse_depth > -2 * result.sd) & torch.isfinite(result.sd)
    median = w[good].median() if good.any() else 0.0
    good &= (result.sd < WORST_SD * median) & (w > 0)
    if int(good.sum()) < FEWEST:
        return none
    rays = torch.nn.functional.pad(pa, (0, 1), value=1.0) @ torch.linalg.inv(camera.Ks[0].double()).T
    pose = torch.linalg.inv(camera.viewmats[0].double())
    return (rays / w[:, None])[good] @ pose[:3, :3].T + pose[:3, 3]


def _overlap(
    views: Sequence[Views], points: dict[tuple[int, int], Tensor], i: int, max_sources: int
) -> Overlap | NoSharedPoints:
    others = [j for j in range(len(views)) if j != i]
    counts = {j: len(points[i, j]) for j in others}
    camera = views[i].cameras.to(dtype=torch.float64)
    xy, z = project(camera, torch.cat([p for (a, b), p in points.items() if a < b]))
    size = torch.tensor([camera.width, camera.height])
    inside = (z[0] > 0) & (xy[0] >= 0).all(-1) & (xy[0] < size).all(-1)
    best = max(others, key=lambda j: counts[j])
    if counts[best] == 0 and int(inside.sum()) < FEWEST:
        return NoSharedPoints(
            f"0 triangulated points for {_name(views, i)}: views {_name(views, i)} and {_name(views, best)} share no "
            "visible surface; expected overlapping photos taken from different places, with cameras that fit them",
            (_name(views, i),),
        )
    if counts[best] == 0:
        # Turned too far from every other for keypoints to match, but it looks at what they see: the nearest may help.
        sources = sorted(others, key=lambda j: _turn(camera, views[j].cameras))[:max_sources]
    else:
        score = {j: counts[j] * _angle_weight(views[i].cameras, views[j].cameras, points[i, j]) for j in others}
        sources = sorted((j for j in others if counts[j]), key=lambda j: -score[j])[:max_sources]
    low, high = np.quantile((1 / z[0][inside]).numpy(), [0.02, 0.98])
    return Overlap(tuple(sources), (float(low), float(high)))


def _turn(camera: Cameras, other: Cameras) -> float:
    """Angle between the two optical axes, radians."""
    cosine = camera.viewmats[0, 2, :3].double() @ other.viewmats[0, 2, :3].double()
    return float(torch.acos(cosine.clamp(-1, 1)))


def _angle_weight(camera: Cameras, other: Cameras, points: Tensor) -> float:
    """Favours parallaxes that are neither too small to measure nor too large to match."""
    if len(points) == 0:
        return 0.0
    a, b = points - camera.centers[0].double(), points - other.centers[0].double()
    angle = torch.rad2deg(torch.acos((torch.cosine_similarity(a, b, dim=-1)).clamp(-1, 1)).median())
    return float(min(1.0, angle / 4.0) * min(1.0, 15.0 / max(float(angle), 1e-6)))


def _name(views: Sequence[Views], i: int) -> str:
    return views[i].names[0] if views[i].names else f"#{i}"
