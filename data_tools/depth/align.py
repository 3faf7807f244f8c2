"""Stage A of CoherentGS: relative disparity becomes inverse depth that agrees with the flow to the other photos.

Unlike the published fit of depth in world space, scale and offset act on disparity, in which depth networks are affine;
the error is in pixels, so that far and wrong matches have no more say than others; and the fit is closed, re-weighted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.types import Views

from .fill import fill_inverse_depth
from .ray_matches import RayMatches
from .types import DepthMap

FEWEST_MATCHES = 20
L1_ROUNDS, TUKEY_ROUNDS = 30, 20
"""Iteratively re-weighted least squares: least absolute errors first, as Tukey's weights need a start near the end."""
TUKEY = 4.685
"""Residuals beyond this many standard deviations count nothing."""
SMALLEST_SD = 0.1
"""Pixels; matches that agree better are not told apart."""
MATCH_SD = 0.5
"""Standard deviation of an inlying match, pixels."""
LEAST_SHARE = 1e-2
"""Inverse depths are kept above this share of their median."""


@dataclass(frozen=True)
class Affine:
    """inverse depth = scale * disparity + offset."""

    scale: float
    offset: float
    sd: float
    """Robust standard deviation of what is left, pixels."""

    def __call__(self, disparity: Tensor) -> Tensor:
        return self.scale * disparity + self.offset


def fit_disparity(disparity: Float[Tensor, "H W"], matches: RayMatches, name: str) -> Affine:
    """Scale and offset with the least robust reprojection error over all matches of one view.

    Raises:
        InputError: too few matches, or a scale that is not positive; names the photo.
    """
    if matches.count < FEWEST_MATCHES:
        raise InputError(f"{name}: {matches.count} flow matches with the other photos, expected {FEWEST_MATCHES}")
    used = matches.pixels > 0
    d = disparity.double()[..., None].expand_as(used)[used]
    w, pixels = matches.inverse_depth.double()[used], matches.pixels.double()[used]
    rows, target = pixels[:, None] * torch.stack([d, torch.ones_like(d)], -1), pixels * w
    weights = torch.ones_like(d)
    for number in range(L1_ROUNDS + TUKEY_ROUNDS):
        # gelsd, as the normal matrix is singular where the disparity is constant
        normal = rows.T @ (weights[:, None] * rows)
        solution = torch.linalg.lstsq(normal, rows.T @ (weights * target), driver="gelsd").solution
        error = (rows @ solution - target).abs()
        sd = float(1.4826 * error.median().clamp_min(SMALLEST_SD / 1.4826))
        if number < L1_ROUNDS:
            weights = 1 / error.clamp_min(0.1 * sd)
        else:
            weights = (1 - (error / (TUKEY * sd)).square()).clamp_min(0).square()
    scale, offset = solution.tolist()
    if scale <= 0:
        raise InputError(f"{name}: its depth falls where its matches say that it rises; is it depth, not disparity?")
    return Affine(scale, offset, sd)


def align(
    view: Views, disparity: Float[Tensor, "H W"], matches: RayMatches, smooth: float | None = 1.0
) -> tuple[DepthMap, Affine]:
    """The view's depth: affine in its disparity, then moved smoothly towards the matches (`smooth` None: not moved)."""
    affine = fit_disparity(disparity, matches, view.names[0])
    prior = affine(disparity.double())
    error = matches.pixels * (matches.inverse_depth - prior[..., None])
    inliers = matches.pixels * (error.abs() < TUKEY * affine.sd)
    information = inliers.double().square().sum(-1)
    known = information > 0
    sd = torch.where(known, MATCH_SD / information.sqrt(), torch.inf)
    w = prior
    if smooth is not None:
        mean = (inliers.double().square() * matches.inverse_depth).sum(-1) / information.clamp_min(1e-300)
        w = fill_inverse_depth(mean, sd, view.photos[0], smooth, prior=prior, start=prior)
    w = w.clamp_min(LEAST_SHARE * float(w.median()))
    unknown = float(w.max() - w.min()) / 2
    dtype = view.photos.dtype
    return DepthMap((1 / w).to(dtype), sd.nan_to_num(posinf=unknown).to(dtype), known, (inliers > 0).sum(-1)), affine


def relative_disparity(depth: Float[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    """From 0.2 for the farthest to 1.2 for the nearest pixel: all that a network for relative depth would tell."""
    w = 1 / depth
    return (w - w.min()) / (w.max() - w.min()).clamp_min(1e-12) + 0.2


def common_scale(disparities: Sequence[Float[Tensor, "_ _"]], matches: Sequence[RayMatches]) -> float:
    """The one number that turns all disparities into inverse depths best: the median over all matches."""
    ratios = []
    for disparity, match in zip(disparities, matches, strict=True):
        used = match.pixels > 0
        ratios.append(match.inverse_depth[used] / disparity[..., None].expand_as(used)[used])
    return float(torch.cat(ratios).median())
