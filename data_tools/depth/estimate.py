"""Depth of every pixel of a few posed photos from these photos alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from gs_reg.errors import InputError
from gs_reg.types import Views

from .consistency import agreement, without_speckles
from .fill import fill_inverse_depth
from .frames import Frame, make_frame
from .refine import enlarge, refine
from .sparse import Overlap, find_overlaps
from .sweep import choose_planes, complete, sweep
from .types import DepthConfig, DepthMap

AGREE_STEPS = 2.0
"""Views agree when their surfaces are within this many planes (about 1.4 px)."""
HIDE_STEPS = 1.5
SPECKLE = 20
"""Smallest believed patch, pixels."""
CUT_STEPS = 3.0
"""Neighbours further apart than this lie on two surfaces: smoothing does not cross."""
SURE_STEPS, UNSURE_STEPS = 0.2, 5.0
"""Least standard deviation of a match, and that of a filled pixel while smoothing, in planes."""


@dataclass(frozen=True)
class _Searched:
    """One view between the stages, at the size of the search."""

    frame: Frame
    overlap: Overlap
    planes: Float[ndarray, "D"]
    w: Float[ndarray, "h v"]
    believed: Bool[ndarray, "h v"]

    @property
    def step(self) -> float:
        return float(self.planes[1] - self.planes[0])


def estimate_depths(
    views: Sequence[Views],
    config: DepthConfig = DepthConfig(),  # noqa: B008 - frozen
    progress: Callable[[str, float], None] | None = None,
) -> tuple[DepthMap, ...]:
    """Depth of every pixel of every view, which may differ in size and intrinsics.

    Plane sweep with semi-global matching, a check of each view against the others, completion that lets occluded pixels join the farther
    surface, sub-pixel triangulation over all confirming views and edge-aware smoothing. The result does not depend on the world's
    scale or frame. `progress` hears the stage and the share done.

    Raises InputError for fewer than two views, and where a view shares no triangulated point with another (it names the pair).
    """
    _check(views)
    report = progress or (lambda stage, share: None)
    report("finding shared points", 0.0)
    overlaps = find_overlaps(views, config.sources)
    frames = [make_frame(view, config.sweep_pixels) for view in views]

    def partners(i: int, items: Sequence) -> list:
        return [items[j] for j in overlaps[i].sources]

    with ThreadPoolExecutor(config.threads) as pool:
        report("sweeping planes", 0.05)
        planes = [
            choose_planes(f, partners(i, frames), overlaps[i].bounds, config.max_planes) for i, f in enumerate(frames)
        ]
        swept = pool.map(lambda i: sweep(frames[i], partners(i, frames), planes[i]), range(len(views)))
        raw = _reported(swept, len(views), 0.05, 0.7, "sweeping planes", report)
        found = [_believe(i, frames, overlaps, planes, raw) for i in range(len(views))]
        report("completing", 0.75)
        done = pool.map(lambda i: _complete(found[i], partners(i, found)), range(len(views)))
        whole = _reported(done, len(views), 0.75, 0.1, "completing", report)
    full = [make_frame(view, float("inf")) for view in views]
    surfaces = [enlarge(w, small, frame) for w, small, frame in zip(whole, frames, full, strict=True)]
    maps = []
    for i in range(len(views)):
        report("refining", 0.85 + 0.15 * i / len(views))
        steps = partners(i, [s.step for s in found])
        maps.append(
            _refined(views[i], found[i], full[i], partners(i, full), surfaces[i], partners(i, surfaces), steps, config)
        )
    report("done", 1.0)
    return tuple(maps)


def _check(views: Sequence[Views]) -> None:
    if len(views) < 2:
        raise InputError(
            f"depth: expected at least 2 photos from different places, got {len(views)}: one has no parallax"
        )
    for view in views:
        if len(view) != 1:
            raise InputError(f"depth: expected views of one photo each, got one of {len(view)}")


def _reported(results, count: int, start: float, span: float, stage: str, report) -> list:
    out = []
    for result in results:
        out.append(result)
        report(stage, start + span * len(out) / count)
    return out


def _believe(i: int, frames: list[Frame], overlaps: Sequence[Overlap], planes: list, raw: list) -> _Searched:
    steps = [p[1] - p[0] for p in planes]
    sources = overlaps[i].sources
    tolerances = [AGREE_STEPS * max(steps[i], steps[j]) for j in sources]
    check = agreement(frames[i], [frames[j] for j in sources], raw[i], [raw[j] for j in sources], tolerances)
    believed = without_speckles(check.believed & frames[i].mask, raw[i], steps[i], SPECKLE)
    return _Searched(frames[i], overlaps[i], planes[i], raw[i], believed)


def _complete(view: _Searched, others: Sequence[_Searched]) -> Float[ndarray, "h v"]:
    # An unbelieved surface infinitely near hides all and so contradicts nothing.
    surfaces = [np.where(other.believed, other.w, np.inf) for other in others]
    tolerances = [HIDE_STEPS * other.step for other in others]
    return complete(view.frame, [o.frame for o in others], view.planes, view.w, view.believed, surfaces, tolerances)


def _refined(
    view: Views,
    found: _Searched,
    frame: Frame,
    others: Sequence[Frame],
    w: Float[ndarray, "H W"],
    other_w: Sequence[Float[ndarray, "H V"]],
    steps: Sequence[float],
    config: DepthConfig,
) -> DepthMap:
    check = agreement(frame, others, w, other_w, [AGREE_STEPS * max(found.step, s) for s in steps])
    believed = enlarge(found.believed, found.frame, frame).astype(bool) & check.believed & frame.mask
    fine = refine(frame, others, w, check.on, found.step)
    confident = torch.from_numpy(believed) & fine.front & torch.isfinite(fine.sd)
    coarse = torch.from_numpy(w)
    x = torch.where(confident, fine.inverse_depth, coarse)
    sd = torch.where(confident, fine.sd.clamp_min(SURE_STEPS * found.step), UNSURE_STEPS * found.step)
    if config.smoothness > 0:
        across, down = coarse.diff(dim=1).abs(), coarse.diff(dim=0).abs()
        cut = (across > CUT_STEPS * found.step, down > CUT_STEPS * found.step)
        x = fill_inverse_depth(x, sd, view.images[0], config.smoothness, start=x, cut=cut, rounds=60)
    low, high = found.overlap.bounds
    sd = torch.where(confident, sd, (high - low) / 2)
    x = x.clamp(0.5 * low, 2 * high)
    kind = view.images.dtype
    return DepthMap((1 / x).to(kind), sd.to(kind), confident, torch.from_numpy(check.views * believed).long())
