"""Depth of every pixel of a few posed photos from these photos alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from gs_reg.errors import InputError
from gs_reg.types import Views

from ..fill import fill_inverse_depth
from ..sparse import Overlap, find_overlaps
from ..types import DepthConfig, DepthMap, Progress
from .consistency import Consistency, check_consistency, without_speckles
from .images import Image, make_image
from .plane_sweep import choose_planes, complete, sweep
from .refine import refine, upsample

T = TypeVar("T")
Swept = tuple[Float[ndarray, "_"], Float[ndarray, "_ _"]]
"""The planes of a sweep and the inverse depth of every pixel."""
PROBE_PIXELS = 40_000
PROBE_RANGE = 0.25, 2.5
"""The first, coarse sweep looks this far beyond the sparse points (factors of inverse depth)."""
AGREE_STEPS = 2.5
"""Views agree when their surfaces are within this many planes (about 1.7 px)."""
OCCLUSION_STEPS = 1.5
"""Completion: planes by which a point may lie in front of a surface and still be on it."""
SPECKLE = 20
"""Smallest confident region, pixels."""
CUT_STEPS = 3.0
"""Neighbours further apart than this lie on two surfaces: smoothing does not cross."""
SURE_STEPS, UNSURE_STEPS = 0.2, 5.0
"""Least standard deviation of a match, and that of a filled pixel while smoothing, in planes."""


@dataclass(frozen=True)
class _SweptView:
    """One view after the sweep, at the resolution of the matching."""

    image: Image
    planes: Float[ndarray, "D"]
    w: Float[ndarray, "h v"]
    """Inverse depth."""
    confident: Bool[ndarray, "h v"]

    @property
    def step(self) -> float:
        return float(self.planes[1] - self.planes[0])


def estimate_depths(
    views: Sequence[Views],
    config: DepthConfig = DepthConfig(),
    progress: Progress | None = None,
) -> tuple[DepthMap, ...]:
    """Depth of every pixel of every view by multi-view stereo; the views may differ in size and intrinsics.

    Plane sweep with semi-global matching, a check of each view against the others, completion that lets occluded pixels
    join the farther surface, sub-pixel triangulation over all confirming views and edge-aware smoothing. The result
    does not depend on the world's scale or frame. `progress` is called with the stage and the share done.

    Raises:
        InputError: fewer than two views, or a view that shares no triangulated point with another (names the pair).
    """
    check_views(views)
    report = progress or (lambda stage, share: None)
    report("finding shared points", 0.0)
    overlaps = find_overlaps(views, config.sources, config.aliked)
    sources = [overlap.sources for overlap in overlaps]
    images = [make_image(view, config.sweep_pixels) for view in views]
    with ThreadPoolExecutor(config.threads) as pool:
        report("finding the range", 0.02)
        ranges = _ranges([make_image(view, PROBE_PIXELS) for view in views], overlaps, config, pool)
        report("sweeping planes", 0.1)
        results = _sweep_all(images, sources, ranges, config, pool)
        swept = _filter(images, sources, _reported(results, len(views), 0.1, 0.65, "sweeping planes", report))
        report("completing", 0.75)
        results = pool.map(lambda i: _complete(swept[i], [swept[j] for j in sources[i]]), range(len(views)))
        whole = _reported(results, len(views), 0.75, 0.1, "completing", report)
    full = [make_image(view, float("inf")) for view in views]
    surfaces = [upsample(w, s.image, image) for w, s, image in zip(whole, swept, full, strict=True)]
    maps = []
    for i, view in enumerate(views):
        maps.append(_refined(i, view, swept, full, surfaces, sources[i], config.smoothness))
        report("refining", 0.85 + 0.15 * (i + 1) / len(views))
    return tuple(maps)


def check_views(views: Sequence[Views]) -> None:
    """Raises InputError for fewer than two views, and for one that holds several photos."""
    if len(views) < 2:
        raise InputError(
            f"depth: expected 2 photos or more from different places, got {len(views)}: one has no parallax"
        )
    for view in views:
        if len(view) != 1:
            raise InputError(f"depth: expected views of one photo each, got one of {len(view)}")


def _reported(results: Iterable[T], count: int, start: float, span: float, stage: str, report: Progress) -> list[T]:
    """The results as a list, each told as it comes."""
    out = []
    for result in results:
        out.append(result)
        report(stage, start + span * len(out) / count)
    return out


def _sweep_all(
    images: Sequence[Image],
    sources: Sequence[tuple[int, ...]],
    ranges: Sequence[tuple[float, float]],
    config: DepthConfig,
    pool: ThreadPoolExecutor,
) -> Iterator[Swept]:
    """Planes and inverse depths of every view, as they come."""

    def one(i: int) -> Swept:
        others = [images[j] for j in sources[i]]
        planes = choose_planes(images[i], others, ranges[i], config.max_planes)
        return planes, sweep(images[i], others, planes)

    return pool.map(one, range(len(images)))


def _ranges(
    small: Sequence[Image], overlaps: Sequence[Overlap], config: DepthConfig, pool: ThreadPoolExecutor
) -> list[tuple[float, float]]:
    """Inverse depths to sweep: those of the shared points, and what a coarse sweep far beyond them confirms."""
    sources = [overlap.sources for overlap in overlaps]
    wide = [(low * PROBE_RANGE[0], high * PROBE_RANGE[1]) for low, high in (o.bounds for o in overlaps)]
    swept = _filter(small, sources, list(_sweep_all(small, sources, wide, config, pool)))
    ranges = []
    for overlap, view in zip(overlaps, swept, strict=True):
        low, high = overlap.bounds
        if view.confident.any():
            seen = np.quantile(view.w[view.confident], [0.01, 0.99])
            low, high = min(low, float(seen[0])), max(high, float(seen[1]))
        margin = 0.1 * (high - low) + 0.02 * high
        ranges.append((max(low - margin, 0.1 * low), high + margin))
    return ranges


def _filter(images: Sequence[Image], sources: Sequence[tuple[int, ...]], results: Sequence[Swept]) -> list[_SweptView]:
    """Confident are pixels that other views confirm, less those that more confirmed surfaces contradict than support.

    In two passes, as an unconfirmed surface is not fit to contradict another.
    """
    steps = [float(planes[1] - planes[0]) for planes, _ in results]
    surfaces = [w for _, w in results]

    def against(i: int, others: Sequence[Float[ndarray, "_ _"]]) -> Consistency:
        tolerances = [AGREE_STEPS * max(steps[i], steps[j]) for j in sources[i]]
        return check_consistency(
            images[i], [images[j] for j in sources[i]], surfaces[i], [others[j] for j in sources[i]], tolerances
        )

    first = [against(i, surfaces) for i in range(len(images))]
    confirmed = [np.where(check.confirmed, w, np.inf) for check, w in zip(first, surfaces, strict=True)]
    swept = []
    for i, (planes, w) in enumerate(results):
        kept = first[i].confirmed & (first[i].views > against(i, confirmed).violating.sum(0)) & images[i].mask
        swept.append(_SweptView(images[i], planes, w, without_speckles(kept, w, steps[i], SPECKLE)))
    return swept


def _complete(view: _SweptView, others: Sequence[_SweptView]) -> Float[ndarray, "h v"]:
    # An unconfirmed surface infinitely near occludes all and so contradicts nothing.
    surfaces = [np.where(other.confident, other.w, np.inf) for other in others]
    tolerances = [OCCLUSION_STEPS * other.step for other in others]
    return complete(view.image, [o.image for o in others], view.planes, view.w, view.confident, surfaces, tolerances)


def _refined(
    i: int,
    view: Views,
    swept: Sequence[_SweptView],
    full: Sequence[Image],
    surfaces: Sequence[Float[ndarray, "_ _"]],
    sources: tuple[int, ...],
    smoothness: float,
) -> DepthMap:
    """View i at full resolution: consistency once more, sub-pixel matches where it holds, smoothing everywhere."""
    step, image, w = swept[i].step, full[i], surfaces[i]
    others = [full[j] for j in sources]
    tolerances = [AGREE_STEPS * max(step, swept[j].step) for j in sources]
    check = check_consistency(image, others, w, [surfaces[j] for j in sources], tolerances)
    trusted = upsample(swept[i].confident.astype(float), swept[i].image, image) > 0
    fine = refine(image, others, w, check.consistent, step)
    confident = torch.from_numpy(trusted & check.confirmed & image.mask) & fine.front & torch.isfinite(fine.sd)
    coarse = torch.from_numpy(w)
    x = torch.where(confident, fine.inverse_depth, coarse)
    sd = torch.where(confident, fine.sd.clamp_min(SURE_STEPS * step), UNSURE_STEPS * step)
    if smoothness > 0:
        cut = (coarse.diff(dim=1).abs() > CUT_STEPS * step, coarse.diff(dim=0).abs() > CUT_STEPS * step)
        x = fill_inverse_depth(x, sd, view.photos[0], smoothness, start=x, cut=cut, rounds=60)
    low, high = swept[i].planes[0], swept[i].planes[-1]
    x = x.clamp(0.5 * low, 2 * high)
    sd = torch.where(confident, sd, (high - low) / 2)
    dtype = view.photos.dtype
    seen = torch.from_numpy(check.views).long() * confident
    return DepthMap((1 / x).to(dtype), sd.to(dtype), confident, seen)
