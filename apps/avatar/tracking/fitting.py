"""Least squares of a mesh prior's codes and head poses on landmarks in space, frame by frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.priors.types import ExpressionPrior, HeadPose

from .anchors import Anchors

STEP = 1e-3
"""Of a channel's range, for derivatives."""


@dataclass(frozen=True)
class FitConfig:
    weight: float = 2e-7
    """Of the distance from the neutral code, in ranges of the channels; the landmarks' squares are in canonical units.
    """
    smooth: float = 2e-7
    """Of the distance from the code of the frame before."""
    rounds: int = 6
    """Turns of pose and code a frame."""
    huber: float = 0.012
    """Landmarks farther off than so many canonical units (3 mm) count less."""


@dataclass(frozen=True)
class Fitted:
    codes: Float[Tensor, "T D"]
    pose: HeadPose
    error: Float[Tensor, "T"]
    """Root mean square distance of the landmarks in canonical units."""
    offsets: Float[Tensor, "L 3"]
    """What of the person's landmarks no code explains, in canonical units."""


class Places:
    """The landmarks' places as a function of the code, linearised; its matrix is kept where the prior is linear."""

    def __init__(self, prior: ExpressionPrior, ident: Float[Tensor, "I"] | None, anchors: Anchors):
        self.prior, self.ident, self.anchors = prior, ident, anchors
        self.range = (prior.hi - prior.lo).clamp_min(1e-6)
        self.base, self.matrix = self.at(prior.neutral), self._matrix(prior.neutral)
        middle = (prior.lo + prior.hi) / 2
        guess = self.base + self.matrix @ (middle - prior.neutral)
        self.linear = bool((guess - self.at(middle)).abs().max() < 1e-4)

    def at(self, code: Float[Tensor, "D"]) -> Float[Tensor, "L 3"]:
        mesh = self.prior.posed_mesh(code, self.ident)
        if mesh is None:
            raise InputError(f"prior {self.prior.name}: it has no mesh that landmarks could be fitted to")
        return self.anchors.on(*mesh)

    def around(self, code: Float[Tensor, "D"]) -> tuple[Float[Tensor, "L 3"], Float[Tensor, "L 3 D"]]:
        """Places and their derivatives."""
        if self.linear:
            return self.base + self.matrix @ (code - self.prior.neutral), self.matrix
        return self.at(code), self._matrix(code)

    def _matrix(self, code: Float[Tensor, "D"]) -> Float[Tensor, "L 3 D"]:
        before, columns = self.at(code), []
        for k in range(self.prior.dim):
            moved = code.clone()
            moved[k] += STEP * self.range[k]
            columns.append((self.at(moved) - before) / (STEP * self.range[k]))
        return torch.stack(columns, -1)


def fit_landmarks(
    places: Places,
    points: Float[Tensor, "T L 3"],
    confidence: Float[Tensor, "T L"],
    neutral: int = 0,
    config: FitConfig = FitConfig(),
    progress: Callable[[str, float], None] = lambda _what, _share: None,
) -> Fitted:
    """Codes within the prior's bounds and poses in the points' world; all frames have one scale.

    `neutral` is a frame in which the person shows no expression: it says what of the landmarks is the person's own.
    Landmarks of confidence 0 do not count. A frame without landmarks takes what the frame before has.

    Raises:
        InputError: the neutral frame has too few landmarks.
    """
    confidence = confidence * places.anchors.weight
    if int((confidence[neutral] > 0).sum()) < 20:
        raise InputError(
            f"frame {neutral}: expected at least 20 landmarks on the neutral frame; --neutral names another"
        )
    unit = places.prior.unit_m
    R, t, s = aligned(places.base, points[neutral], confidence[neutral])
    offsets = (points[neutral] - t) @ R / s - places.base
    offsets[confidence[neutral] == 0] = 0
    codes, rotations, shifts, errors = [], [], [], []
    code = places.prior.neutral.clone()
    for frame in range(len(points)):
        progress(f"frame {frame + 1}/{len(points)}", frame / len(points))
        error = torch.tensor(torch.nan)
        if int((confidence[frame] > 0).sum()) >= 20:
            code, R, t, error = _fit_frame(places, offsets, points[frame], confidence[frame], code, s, config)
        codes.append(code)
        rotations.append(R)
        shifts.append(t)
        errors.append(error)
    scale = torch.full((len(points),), float(s) / unit)
    pose = HeadPose(torch.stack(rotations), torch.stack(shifts), scale)
    return Fitted(torch.stack(codes), pose, torch.stack(errors), offsets)


def _fit_frame(
    places: Places, offsets: Tensor, points: Tensor, confidence: Tensor, before: Tensor, s: Tensor, config: FitConfig
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    code, weights = before, confidence
    R, t = torch.eye(3), torch.zeros(3)
    for _ in range(config.rounds):
        here, matrix = places.around(code)
        R, t, _ = aligned(here + offsets, points, weights, scale=s)
        target = (points - t) @ R / s
        code = _solve(here + offsets, matrix, target, weights, code, before, places, config)
        distance = (target - places.around(code)[0] - offsets).norm(dim=1)
        weights = confidence * config.huber / distance.clamp_min(config.huber)
    error = ((confidence * distance.square()).sum() / confidence.sum()).sqrt()
    return code, R, t, error


def _solve(
    here: Tensor, matrix: Tensor, target: Tensor, weights: Tensor, code: Tensor, before: Tensor, places: Places,
    config: FitConfig,
) -> Tensor:  # fmt: skip
    """The code within its bounds that brings the places nearest to the target."""
    from scipy.optimize import lsq_linear

    prior = places.prior
    share = (weights / weights.sum())[:, None, None]
    A = (matrix * share.sqrt()).flatten(0, 1).double().numpy()
    b = ((target - here + matrix @ code)[..., None] * share.sqrt()).flatten().double().numpy()
    inverse = (1 / places.range).double().numpy()
    rows, sides = [A], [b]
    for weight, centre in ((config.weight, prior.neutral), (config.smooth, before)):
        rows.append(np.diag(weight**0.5 * inverse))
        sides.append(weight**0.5 * inverse * centre.double().numpy())
    lo, hi = prior.lo.double().numpy(), prior.hi.double().numpy()
    # the bounded problem on the square root of the normal equations, which has as many rows as channels
    Q, triangle = np.linalg.qr(np.concatenate(rows))
    fitted = lsq_linear(triangle, Q.T @ np.concatenate(sides), (lo, np.maximum(hi, lo + 1e-9)))
    return torch.from_numpy(fitted.x).float()


def aligned(
    source: Float[Tensor, "L 3"],
    target: Float[Tensor, "L 3"],
    weights: Float[Tensor, "L"],
    scale: Float[Tensor, ""] | None = None,
) -> tuple[Float[Tensor, "3 3"], Float[Tensor, "3"], Float[Tensor, ""]]:
    """R, t, s of least weighted squares with target = s R source + t (Umeyama); `scale` fixes s."""
    w = (weights / weights.sum())[:, None].double()
    a, b = source.double(), target.double()
    mean_a, mean_b = (w * a).sum(0), (w * b).sum(0)
    covariance = (w * (b - mean_b)).T @ (a - mean_a)
    U, S, Vh = torch.linalg.svd(covariance)
    flip = torch.ones(3, dtype=torch.float64)
    flip[2] = torch.sign(torch.linalg.det(U) * torch.linalg.det(Vh))
    R = U @ torch.diag(flip) @ Vh
    s = (S * flip).sum() / (w * (a - mean_a).square()).sum() if scale is None else scale.double()
    return R.float(), (mean_b - s * R @ mean_a).float(), s.float()
