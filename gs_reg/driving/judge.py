"""How well a tracker's coefficients follow known ones, by units that act in enough frames to tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.driving.types import INDEX

UNITS: Mapping[str, tuple[str, ...]] = {
    "jawOpen": ("jawOpen",),
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "blink": ("eyeBlinkLeft", "eyeBlinkRight"),
}
"""The mean of the coefficients named counts."""
ACTIVE = 0.1
ENOUGH = 0.5
"""Share of frames in which a unit must act: else "always 0" would have a median error of 0."""
MOST_ACTIVE, MOST_ALL, LEAST_CORRELATION = 0.20, 0.12, 0.80


@dataclass(frozen=True)
class UnitScore:
    """One unit over a clip."""

    name: str
    acting: float
    """Share of frames with a truth above 0.1."""
    median_active: float
    median_all: float
    correlation: float
    constant: float
    """Median error of the best constant."""

    @property
    def passed(self) -> bool:
        return (
            self.median_active <= MOST_ACTIVE
            and self.median_all <= MOST_ALL
            and self.correlation >= LEAST_CORRELATION
            and self.median_all < self.constant
        )


@dataclass(frozen=True)
class Judgement:
    units: tuple[UnitScore, ...]

    @property
    def passed(self) -> bool:
        return all(unit.passed for unit in self.units)

    @property
    def words(self) -> str:
        """A line for each unit."""
        head = "unit      median active (<= .20)  all (<= .12)  best constant  correlation (>= .80)"
        rows = [
            f"{u.name:9s} {u.median_active:22.2f} {u.median_all:13.2f} {u.constant:14.2f} {u.correlation:21.2f}  "
            f"{'pass' if u.passed else 'FAIL'}"
            for u in self.units
        ]
        return "\n".join([head, *rows])


def judge(
    truth: Float[Tensor, "T 52"],
    estimate: Float[Tensor, "T 52"],
    units: Mapping[str, tuple[str, ...]] = UNITS,
) -> Judgement:
    """The scores of a clip in which each of the units acts in at least half of the frames.

    Raises:
        ValueError: a unit that acts in fewer.
    """
    scores = []
    for name, members in units.items():
        columns = [INDEX[member] for member in members]
        t, e = truth[:, columns].double().mean(1), estimate[:, columns].double().mean(1)
        active = t > ACTIVE
        acting = float(active.double().mean())
        if acting < ENOUGH:
            raise ValueError(f"{name}: expected a unit that acts in half of the frames, got {100 * acting:.0f} %")
        error = (e - t).abs()
        scores.append(
            UnitScore(
                name,
                acting,
                float(error[active].quantile(0.5)),
                float(error.quantile(0.5)),
                _correlation(t, e),
                # the best constant lies at a value of the truth, or between two
                float(min((t - c).abs().quantile(0.5) for c in torch.linspace(0, 1, 101))),
            )
        )
    return Judgement(tuple(scores))


def _correlation(a: Float[Tensor, "T"], b: Float[Tensor, "T"]) -> float:
    """Pearson's; 0 where either does not move."""
    a, b = a - a.mean(), b - b.mean()
    norm = a.norm() * b.norm()
    return float(a @ b / norm) if float(norm) > 0 else 0.0
