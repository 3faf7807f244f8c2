"""Relative depth, known up to scale and shift, as a prior for multi-view stereo.

What the photos measure stays; pixels that stereo only fills in take the map's shape.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.init.fill import push_pull
from gs_reg.types import Views

from ..fill import fill_inverse_depth
from ..mvs.estimate import check_views, estimate_depths
from ..types import DepthConfig, DepthMap, Progress
from .types import Depths, MapKind, Maps

TRIES, SAMPLE = 256, 4096
"""Hypotheses of RANSAC, each a line through two pixels, and pixels that they are scored on."""
NEAR_SHARE = 0.05
"""Inlier threshold, as a share of the range of inverse depths."""
FEWEST = 50
"""Measured pixels below which nothing is fitted."""
ROUNDS = 10
SMOOTH = 10.0
"""How strongly neighbours share one correction of the prior, against how strongly measured pixels hold it."""
OUTLIER = 3.0
"""Spreads off the fitted line beyond which the weight of a measured pixel falls, with the 8th power."""
FLOOR = 0.1
"""Least inverse depth of the prior, as a share of the farthest measured one."""


@dataclass(frozen=True)
class Fit:
    """Inverse depth = scale * disparity + offset."""

    scale: float
    offset: float
    spread: float
    """Robust standard deviation of what is left, in inverse depth."""
    agreeing: float
    """Share of the measured pixels that are inliers."""


class RelativeDepth:
    """Multi-view stereo, with maps for the shape of what the photos do not measure."""

    def __init__(self, maps: Maps, config: DepthConfig):
        self._maps, self._config = maps, config
        self.about: Mapping[str, str] = {**maps.about, "used as": "shape of pixels that the photos do not measure"}

    def __call__(self, views: Sequence[Views], progress: Progress | None = None) -> Depths:
        check_views(views)
        priors = [as_disparity(self._maps(view), self._maps.kind) for view in views]
        found, fits = [], {}
        for view, prior, depth in zip(views, priors, estimate_depths(views, self._config, progress), strict=True):
            fit = fit_disparity(prior, depth, view.names[0], self._maps.kind)
            found.append(completed(depth, prior, fit, view))
            fits[view.names[0]] = dataclasses.asdict(fit)
        return Depths(tuple(found), {"fits": fits})


def as_disparity(values: Float[Tensor, "H W"], kind: MapKind) -> Float[Tensor, "H W"]:
    """Disparity up to scale and shift; a metric map of a network is one too, as its metre need not be the cameras'."""
    return values if kind == "disparity" else 1 / values


def fit_disparity(prior: Float[Tensor, "H W"], depth: DepthMap, name: str, kind: MapKind) -> Fit:
    """The line from disparity to inverse depth over measured pixels: RANSAC, then Huber least squares.

    Raises:
        InputError: too few measured pixels, a map without shape, or one that runs against what was measured.
    """
    measured = depth.confident & torch.isfinite(prior)
    v, w, sd = (x[measured].double() for x in (prior, 1 / depth.depth, depth.sd))
    if len(v) < FEWEST:
        raise InputError(
            f"{name}: only {len(v)} pixels are measured: too few to fit a depth map to; drop --depth.source"
        )
    if float(v.quantile(0.95) - v.quantile(0.05)) <= 1e-6 * float(v.abs().max()):
        raise InputError(f"{name}: its depth map is constant: nothing to learn from it")
    low, high = (float(w.quantile(q)) for q in (0.05, 0.95))
    near = NEAR_SHARE * (high - low) + 2 * float(sd.median())
    scale, offset = _ransac(v, w, near)
    for _ in range(ROUNDS):
        error = (scale * v + offset - w).abs()
        k = near / error.clamp_min(near)
        # Huber weights alone would let the many far outliers of a wrong surface tilt the line
        k = torch.where(error < 4 * near, k, 0.0)
        mean_v, mean_w = (k * v).sum() / k.sum(), (k * w).sum() / k.sum()
        scale = float((k * (v - mean_v) * (w - mean_w)).sum() / (k * (v - mean_v).square()).sum().clamp_min(1e-300))
        offset = float(mean_w - scale * mean_v)
    if scale <= 0:
        other = "depth" if kind == "disparity" else "disparity"
        raise InputError(
            f"{name}: its depth map runs against the depth that the photos measure: does it hold {other}? Say "
            f"--depth.kind {other}"
        )
    error = (scale * v + offset - w).abs()
    return Fit(scale, offset, 1.4826 * float(error.median()), float((error < near).double().mean()))


def _ransac(v: Float[Tensor, "P"], w: Float[Tensor, "P"], near: float) -> tuple[float, float]:
    """Scale and offset of the hypothesis with the least truncated squared error (MSAC: Torr and Zisserman 2000)."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randint(len(v), (SAMPLE,), generator=generator)
    a, b = torch.randint(len(v), (2, TRIES), generator=generator)
    gap = v[a] - v[b]
    usable = gap.abs() > 1e-3 * (v.quantile(0.95) - v.quantile(0.05))
    scales = torch.where(usable, (w[a] - w[b]) / torch.where(usable, gap, 1.0), 0.0)
    offsets = w[a] - scales * v[a]
    error = (scales[:, None] * v[chosen] + offsets[:, None] - w[chosen]).abs().clamp_max(near)
    best = int(error.square().sum(1).argmin())
    return float(scales[best]), float(offsets[best])


def completed(depth: DepthMap, prior: Float[Tensor, "H W"], fit: Fit, view: Views) -> DepthMap:
    """Measured pixels as they are; the others follow the fitted prior, shifted smoothly to meet the measured ones.

    Pixels that are far off the prior, compared with most, have no say in that shift: they are often beside an edge, of
    the wrong surface.
    """
    w, known = 1 / depth.depth.double(), depth.confident
    floor = FLOOR * float(w[known].quantile(0.01))
    whole = closed(fit.scale * prior.double() + fit.offset, view.photos[0]).clamp_min(floor)
    sd = torch.where(known, depth.sd.double(), torch.inf)
    odd = ((w - whole).abs() / (OUTLIER * fit.spread + depth.sd.double())).clamp_min(1)
    trust = torch.where(known, odd**-8, 0.0)[None]
    start = whole + push_pull(torch.where(known, w - whole, 0.0)[None], trust)[0]
    x = fill_inverse_depth(w, sd * odd**4, view.photos[0], SMOOTH, prior=whole, start=start).clamp_min(floor)
    x = torch.where(known, w, x)
    spread = torch.full_like(sd, max(fit.spread, float(depth.sd[known].max())))
    kind = depth.depth.dtype
    return dataclasses.replace(depth, depth=(1 / x).to(kind), sd=torch.where(known, sd, spread).to(kind))


def closed(values: Float[Tensor, "H W"], image: Float[Tensor, "H W 3"]) -> Float[Tensor, "H W"]:
    """Values as they are, holes (not finite) filled smoothly."""
    known = torch.isfinite(values)
    if known.all():
        return values
    return torch.where(known, values, fill_inverse_depth(values, torch.where(known, 1.0, torch.inf), image))
