"""From a tracker's scores to coefficients of one person: a monotone curve for every unit."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.driving.retarget import neutral_frames
from gs_reg.driving.types import Drive
from gs_reg.errors import InputError, reading
from gs_reg.io.atomic import atomic_path
from gs_reg.priors import ARKIT
from gs_reg.tensor_dataclass import TensorDataclass

log = logging.getLogger(__name__)

LEAST_RANGE = 0.4
"""Least range of scores that a clip stretches to 1: units that hardly act would else be blown up (spec, section 11)."""
LEAST_RISE = 0.08
"""Of a score over a sweep: below it the tracker does not see the unit, and it stays at 0."""
AT_REST = 0.05
"""Largest amount of a unit that does not act."""
ENOUGH = 0.5
"""A sweep must reach it to tell about a unit."""


@dataclass(frozen=True)
class Calibration(TensorDataclass):
    """Piecewise linear curves, held at their ends."""

    scores: Float[Tensor, "52 K"]
    """Knots of every unit, never falling."""
    values: Float[Tensor, "52 K"]
    """Coefficient at each knot."""

    def __call__(self, arkit: Float[Tensor, "T 52"]) -> Float[Tensor, "T 52"]:
        """The coefficients of a tracker's scores."""
        x, knots, values = (part.double().cpu().numpy() for part in (arkit, self.scores, self.values))
        columns = [np.interp(x[:, i], knots[i], values[i]) for i in range(len(ARKIT))]
        return torch.from_numpy(np.stack(columns, axis=1)).to(arkit)

    def applied_to(self, drive: Drive) -> Drive:
        """The drive with calibrated coefficients; raises ValueError where it has codes alone."""
        if drive.arkit is None:
            raise ValueError("drive: expected ARKit coefficients to calibrate, got codes of a prior")
        return Drive(self(drive.arkit), drive.pose, drive.fps, drive.codes, drive.seen)

    @property
    def unseen(self) -> tuple[str, ...]:
        """Units that stay at 0, as the tracker did not see them act."""
        return tuple(name for name, value in zip(ARKIT, self.values, strict=True) if not bool(value.any()))

    @staticmethod
    def from_clip(arkit: Float[Tensor, "T 52"], neutral: int | None = None, short: bool = False) -> Calibration:
        """Neutral offset and gain of one clip: its neutral frame becomes 0, the 98 % quantile above it becomes 1.

        `neutral` is a frame that the user picked; None = the mean of the five with the least scores, or scores of 0
        in a `short` clip in which those five are no face at rest.
        """
        rows = [neutral] if neutral is not None else neutral_frames(arkit, torch.zeros_like(arkit[0]))
        rest = arkit[rows].mean(0)
        if short and neutral is None and bool((rest > LEAST_RANGE).any()):
            rest = torch.zeros_like(rest)
        rise = (arkit.quantile(0.98, dim=0) - rest).clamp_min(LEAST_RANGE)
        scores = torch.stack([rest, rest + rise], dim=1)
        return Calibration(scores, torch.tensor([0.0, 1.0]).to(scores).expand_as(scores).clone())

    @staticmethod
    def from_sweep(scores: Float[Tensor, "M 52"], truth: Float[Tensor, "M 52"]) -> Calibration:
        """Curves from frames in which units act by known amounts: five a unit are enough, left and right together.

        A tracker sees less of a unit when the head is turned or others act too: a sweep that has such frames as well
        gives curves that are right on average. Units that it leaves out keep their scores less the neutral one.

        Raises:
            ValueError: no frame in which all units rest.
        """
        at_rest = (truth <= AT_REST).all(dim=1)
        if not bool(at_rest.any()):
            raise ValueError("sweep: expected at least one frame with every unit at rest, got none")
        rest = scores[at_rest].double().median(dim=0).values.numpy()
        curves = []
        for i in range(len(ARKIT)):
            used = (truth[:, i] > AT_REST) | at_rest  # what others do alone says nothing of this one
            if float(truth[used, i].max()) < ENOUGH:
                curves.append((np.array([rest[i], max(rest[i] + 1e-6, 1.0)]), np.array([0.0, 1.0])))
            else:
                curves.append(_curve(scores[used, i].double().numpy(), truth[used, i].double().numpy()))
        K = max(len(x) for x, _ in curves)
        # the last knot again: the curve is held there
        padded = [[np.pad(part, (0, K - len(part)), mode="edge") for part in curve] for curve in curves]
        table = torch.from_numpy(np.array(padded)).float()
        made = Calibration(table[:, 0].contiguous(), table[:, 1].contiguous())
        if made.unseen:
            log.warning("units that the tracker does not see act, and that stay at 0: %s", ", ".join(made.unseen))
        return made

    def save(self, path: str | Path) -> None:
        """As JSON: for every unit its scores and values."""
        units = {name: [self.scores[i].tolist(), self.values[i].tolist()] for i, name in enumerate(ARKIT)}
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps({"kind": "arkit-calibration", "units": units}), encoding="utf-8")

    @staticmethod
    def load(path: str | Path) -> Calibration:
        """Raises InputError where the file is no calibration."""
        with reading(path):
            units = json.loads(Path(path).read_text(encoding="utf-8"))["units"]
            table = np.array([units[name] for name in ARKIT], np.float32)
        if table.ndim != 3 or table.shape[1] != 2 or not np.isfinite(table).all():
            raise InputError(f"{path}: expected scores and values for each of 52 units, got {list(table.shape)}")
        if (np.diff(table[:, 0]) < 0).any():
            raise InputError(f"{path}: expected scores that never fall")
        table = torch.from_numpy(table)
        return Calibration(table[:, 0].contiguous(), table[:, 1].contiguous())


def _curve(scores: Float[np.ndarray, "n"], truth: Float[np.ndarray, "n"]) -> tuple[np.ndarray, np.ndarray]:
    """Knots of the rising curve that is nearest to the truth at each score; all 0 for a unit that does not show."""
    at_rest = truth <= AT_REST
    if scores[truth >= ENOUGH].mean() - scores[at_rest].mean() < LEAST_RISE:
        return np.array([0.0, 1.0]), np.zeros(2)
    order = np.argsort(scores, kind="stable")
    knots, values = _rising(scores[order], truth[order])
    # a face at rest stays so, however many small amounts do not show
    rest = float(np.median(scores[at_rest]))
    above = (knots > rest) & (values > 0)
    return np.concatenate([[rest], knots[above]]), np.concatenate([[0.0], values[above]])


def _rising(x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]) -> tuple[np.ndarray, np.ndarray]:
    """Isotonic least squares: neighbours of which y falls, or that share their x, become one at their mean."""
    pools: list[tuple[float, float, int]] = []  # mean x, mean y, count
    for pool in zip(x.tolist(), y.tolist(), [1] * len(x), strict=True):
        pools.append(pool)
        while len(pools) > 1 and (pools[-2][1] >= pools[-1][1] or pools[-2][0] >= pools[-1][0]):
            (xa, ya, a), (xb, yb, b) = pools[-2:]
            pools[-2:] = [((xa * a + xb * b) / (a + b), (ya * a + yb * b) / (a + b), a + b)]
    return np.array([pool[0] for pool in pools]), np.array([pool[1] for pool in pools])
