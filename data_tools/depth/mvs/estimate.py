"""Depth of every pixel of a few posed photos from these photos alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from gs_reg.errors import InputError
from gs_reg.types import Views

from ..fill import fill_inverse_depth
from ..sparse import Overlap, find_overlaps
from ..types import DepthConfig, DepthMap
from .consistency import Agreement, agreement, without_speckles
from .images import Frame, make_frame
from .plane_sweep import choose_planes, complete, sweep
from .refine import enlarge, refine

PROBE_PIXELS = 40_000
PROBE_RANGE = 0.25, 2.5
"""The first, coarse sweep looks this far beyond the sparse points (factors of inverse depth)."""
AGREE_STEPS = 2.5
"""Views agree when their surfaces are within this many planes (about 1.7 px)."""
HIDE_STEPS = 1.5
SPECKLE = 20
"""Smallest believed patch, pixels."""
CUT_STEPS = 3.0
"""Neighbours further apart than this lie on two surfaces: smoothing does not cross."""
SURE_STEPS, UNSURE_STEPS = 0.2, 5.0
"""Least standard deviation of a match, and that of a filled pixel while smoothing, in planes."""


@dataclass(frozen=True)
class _Searched:
    """One view after the sweep, at the size of the search."""

    frame: Frame
    planes: Float[ndarray, "D"]
    w: Float[ndarray, "h v"]
    believed: Bool[ndarray, "h v"]

    @property
    def step(self) -> float:
        return float(self.planes[1] - self.planes[0])


def estimate_depths(
    views: Sequence[Views],
    config: DepthConfig = DepthConfig(),
    progress: Callable[[str, float], None] | None = None,
) -> tuple[DepthMap, ...]:
    """Depth of every pixel of every view; the views may differ in size and intrinsics.

    Plane sweep with semi-global matching, a check of each view against the others, completion that lets occluded pixels
    join the farther surface, sub-pixel triangulation over all confirming views and edge-aware smoothing. The result
    does not depend on the world's scale or frame. `progress` hears the stage and the share done.

    Raises InputError for fewer than two views, and where a view shares no triangulated point with another (it names
    the pair).
    """
    check_views(views)
    report = progress or (lambda stage, share: None)
    report("finding shared points", 0.0)
    overlaps = find_overlaps(views, config.sources, config.aliked)
    sources = [overlap.sources for overlap in overlaps]
    frames = [make_frame(view, config.sweep_pixels) for view in views]
    with ThreadPoolExecutor(config.threads) as pool:
        report("finding the range", 0.02)
        ranges = _ranges([make_frame(view, PROBE_PIXELS) for view in views], overlaps, config, pool)
        report("sweeping planes", 0.1)
        results = _sweep_all(frames, sources, ranges, config, pool)
        found = _believe(frames, sources, _reported(results, len(views), 0.1, 0.65, "sweeping planes", report))
        report("completing", 0.75)
        results = pool.map(lambda i: _complete(found[i], [found[j] for j in sources[i]]), range(len(views)))
        whole = _reported(results, len(views), 0.75, 0.1, "completing", report)
    full = [make_frame(view, float("inf")) for view in views]
    surfaces = [enlarge(w, s.frame, frame) for w, s, frame in zip(whole, found, full, strict=True)]
    maps = []
    for i, view in enumerate(views):
        maps.append(_refined(i, view, found, full, surfaces, sources[i], config.smoothness))
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


def _reported(results: Iterable, count: int, start: float, span: float, stage: str, report: Callable) -> list:
    out = []
    for result in results:
        out.append(result)
        report(stage, start + span * len(out) / count)
    return out


def _sweep_all(frames, sources, ranges, config: DepthConfig, pool: ThreadPoolExecutor) -> Iterable[tuple]:
    """(planes, w) of every view, as they come."""

    def one(i: int) -> tuple:
        others = [frames[j] for j in sources[i]]
        planes = choose_planes(frames[i], others, ranges[i], config.max_planes)
        return planes, sweep(frames[i], others, planes)

    return pool.map(one, range(len(frames)))


def _ranges(small: Sequence[Frame], overlaps: Sequence[Overlap], config: DepthConfig, pool: ThreadPoolExecutor) -> list:
    """Inverse depths to search: those of the shared points, and what a coarse sweep far beyond them confirms."""
    sources = [overlap.sources for overlap in overlaps]
    wide = [(low * PROBE_RANGE[0], high * PROBE_RANGE[1]) for low, high in (o.bounds for o in overlaps)]
    found = _believe(small, sources, list(_sweep_all(small, sources, wide, config, pool)))
    ranges = []
    for overlap, view in zip(overlaps, found, strict=True):
        low, high = overlap.bounds
        if view.believed.any():
            seen = np.quantile(view.w[view.believed], [0.01, 0.99])
            low, high = min(low, float(seen[0])), max(high, float(seen[1]))
        margin = 0.1 * (high - low) + 0.02 * high
        ranges.append((max(low - margin, 0.1 * low), high + margin))
    return ranges


def _believe(frames: Sequence[Frame], sources: Sequence[tuple[int, ...]], results: Sequence[tuple]) -> list[_Searched]:
    """Pixels of every view that others confirm, less those that float before more confirmed surfaces than agree."""
    steps = [float(planes[1] - planes[0]) for planes, _ in results]
    surfaces = [w for _, w in results]

    def against(i: int, others: Sequence) -> Agreement:
        tolerances = [AGREE_STEPS * max(steps[i], steps[j]) for j in sources[i]]
        return agreement(
            frames[i], [frames[j] for j in sources[i]], surfaces[i], [others[j] for j in sources[i]], tolerances
        )

    first = [against(i, surfaces) for i in range(len(frames))]
    sure = [np.where(check.confirmed, w, np.inf) for check, w in zip(first, surfaces, strict=True)]
    found = []
    for i, (planes, w) in enumerate(results):
        kept = first[i].confirmed & (first[i].views > against(i, sure).before.sum(0)) & frames[i].mask
        found.append(_Searched(frames[i], planes, w, without_speckles(kept, w, steps[i], SPECKLE)))
    return found


def _complete(view: _Searched, others: Sequence[_Searched]) -> Float[ndarray, "h v"]:
    # An unbelieved surface infinitely near hides all and so contradicts nothing.
    surfaces = [np.where(other.believed, other.w, np.inf) for other in others]
    tolerances = [HIDE_STEPS * other.step for other in others]
    return complete(view.frame, [o.frame for o in others], view.planes, view.w, view.believed, surfaces, tolerances)


def _refined(
    i: int,
    view: Views,
    found: Sequence[_Searched],
    full: Sequence[Frame],
    surfaces: Sequence[Float[ndarray, "_ _"]],
    sources: tuple[int, ...],
    smoothness: float,
) -> DepthMap:
    step, frame, w = found[i].step, full[i], surfaces[i]
    others = [full[j] for j in sources]
    tolerances = [AGREE_STEPS * max(step, found[j].step) for j in sources]
    check = agreement(frame, others, w, [surfaces[j] for j in sources], tolerances)
    believed = enlarge(found[i].believed.astype(float), found[i].frame, frame) > 0
    fine = refine(frame, others, w, check.on, step)
    confident = torch.from_numpy(believed & check.confirmed & frame.mask) & fine.front & torch.isfinite(fine.sd)
    coarse = torch.from_numpy(w)
    x = torch.where(confident, fine.inverse_depth, coarse)
    sd = torch.where(confident, fine.sd.clamp_min(SURE_STEPS * step), UNSURE_STEPS * step)
    if smoothness > 0:
        cut = (coarse.diff(dim=1).abs() > CUT_STEPS * step, coarse.diff(dim=0).abs() > CUT_STEPS * step)
        x = fill_inverse_depth(x, sd, view.photos[0], smoothness, start=x, cut=cut, rounds=60)
    low, high = found[i].planes[0], found[i].planes[-1]
    x = x.clamp(0.5 * low, 2 * high)
    sd = torch.where(confident, sd, (high - low) / 2)
    kind = view.photos.dtype
    seen = torch.from_numpy(check.views).long() * confident
    return DepthMap((1 / x).to(kind), sd.to(kind), confident, seen)
