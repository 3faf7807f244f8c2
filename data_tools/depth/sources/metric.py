"""Metric depth of the user's, in the units of the cameras: taken as it is, and compared with the photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.geometry import project
from gs_reg.types import Views

from ..mvs.consistency import Consistency, check_consistency
from ..mvs.estimate import check_views
from ..mvs.images import make_image
from ..sparse import pair_points
from ..types import DepthMap, Progress
from .relative import closed
from .types import Depths, Maps

AGREE = 0.03
"""Surfaces of two views within this share of the depth, or three standard deviations, are the same."""
OFF = 0.1
"""A median ratio to the shared points that is off by more than this is no noise: the units are others."""
FEWEST = 20


class MetricDepth:
    """Maps of camera-space z.

    `scale` is the length, in the maps' units, of a unit of the normalised world; `sd` the standard deviation as a share
    of the depth. `check` compares the maps with each other and with points triangulated from matched keypoints.
    """

    def __init__(self, maps: Maps, scale: float, sd: float, check: bool, aliked: Path | None = None):
        if not 0 < sd < 1:
            raise InputError(f"--depth.sd: expected a share of the depth between 0 and 1, got {sd:g}")
        self._maps, self._scale, self._sd, self._check, self._aliked = maps, scale, sd, check, aliked
        self.about: Mapping[str, str] = {**maps.about, "used as": f"depth with a standard deviation of {sd:.2%}"}

    def __call__(self, views: Sequence[Views], progress: Progress | None = None) -> Depths:
        check_views(views)
        report = progress or (lambda stage, share: None)
        raw = []
        for i, view in enumerate(views):
            report("reading maps", 0.3 * i / len(views))
            raw.append(self._maps(view) / self._scale)
        surfaces = [closed(1 / z, view.photos[0]) for z, view in zip(raw, views, strict=True)]
        valid = [torch.isfinite(z) & _counts(view) for z, view in zip(raw, views, strict=True)]
        details: dict[str, Mapping[str, float | None]] = {}
        if self._check:
            report("comparing with shared points", 0.4)
            details["times the shared points' depth"] = compare_with_points(views, raw, self._aliked)
        maps = []
        for i in range(len(views)):
            report("comparing maps", 0.6 + 0.4 * i / len(views))
            maps.append(self._map(i, views, surfaces, valid[i]))
        if self._check:
            details["confirmed by another map"] = {
                view.names[0]: round(float((m.views > 0).float().mean()), 4)
                for view, m in zip(views, maps, strict=True)
            }
        report("comparing maps", 1.0)
        return Depths(tuple(maps), details)

    def _map(self, i: int, views: Sequence[Views], surfaces: Sequence[Tensor], valid: Tensor) -> DepthMap:
        w = surfaces[i]
        sd = torch.where(valid, self._sd * w, 0.5 * w)  # of 1/z: it has the same share of 1/z as z has of z
        seen = torch.zeros(w.shape, dtype=torch.long)
        if self._check:
            check = _against_others(i, views, surfaces, max(AGREE, 3 * self._sd))
            seen = torch.from_numpy(check.views).long() * valid
            valid = valid & torch.from_numpy(check.violating.sum(0) <= check.views)
        dtype = views[i].photos.dtype
        return DepthMap((1 / w).to(dtype), sd.to(dtype), valid, seen)


def _against_others(i: int, views: Sequence[Views], surfaces: Sequence[Tensor], share: float) -> Consistency:
    """Is view i's surface where the others' are, up to a share of the depth?"""
    others = [j for j in range(len(views)) if j != i]
    image, *images = (make_image(views[j], float("inf")) for j in (i, *others))
    w, *other_w = (surfaces[j].double().numpy() for j in (i, *others))
    return check_consistency(image, images, w, other_w, [share * w] * len(others))


def _counts(view: Views) -> Bool[Tensor, "H W"]:
    """Pixels that the mask keeps."""
    return torch.ones(view.photos.shape[1:3], dtype=torch.bool) if view.masks is None else view.masks[0]


def compare_with_points(
    views: Sequence[Views], depths: Sequence[Float[Tensor, "_ _"]], aliked: Path | None = None
) -> dict[str, float | None]:
    """Median of each map's depth over that of the points its photo shares with others; None = too few points.

    Raises:
        InputError: the ratio says that the units, or the kind, are others.
    """
    points = pair_points(views, aliked)
    ratios: dict[str, float | None] = {}
    for i, (view, depth) in enumerate(zip(views, depths, strict=True)):
        shared = torch.cat([p for (a, _), p in points.items() if a == i])
        xy, z = project(view.cameras.to(dtype=torch.float64), shared)
        column, row = xy[0].floor().long().unbind(-1)
        inside = (z[0] > 0) & (column >= 0) & (row >= 0) & (column < depth.shape[1]) & (row < depth.shape[0])
        ratio = depth[row[inside], column[inside]].double() / z[0][inside]
        ratio = ratio[torch.isfinite(ratio)]
        if len(ratio) < FEWEST:
            ratios[view.names[0]] = None
            continue
        ratios[view.names[0]] = median = round(float(ratio.median()), 4)
        if abs(median - 1) > OFF:
            raise InputError(
                f"{view.names[0]}: its map is {median:.3g} times the depth of the {len(ratio)} points that the photos "
                "share: expected camera-space z in the units of the cameras (--depth.png-scale sets a PNG's); maps of "
                "unknown scale are --depth.kind depth or disparity; --depth.no-check believes the map all the same"
            )
    return ratios
