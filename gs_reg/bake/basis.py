"""A linear basis of an avatar: what every expression adds to the neutral cloud is a sum of K columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float16, Int8
from torch import Tensor

from gs_reg.bake.attributes import ATTRIBUTES, deviated
from gs_reg.regression import Folds, Regressor
from gs_reg.types import Splats

Deformed = Callable[[Float[Tensor, "dim"]], Splats]
"""An avatar's cloud under a code in the head's own frame, such as Avatar.deformed; rows are the same for all codes."""


@dataclass(frozen=True)
class Basis:
    reference: Splats
    """The neutral cloud, without warps."""
    columns: Int8[np.ndarray, "K 13 N"]
    scales: Float16[np.ndarray, "K 13"]
    """Of a step of each column, attribute by attribute."""
    regressor: Regressor
    """From a code to the K coefficients."""
    channels: tuple[str, ...]
    """Names of the code's channels."""
    neutral: Float[Tensor, "dim"]
    lo: Float[Tensor, "dim"]
    hi: Float[Tensor, "dim"]
    """Range of each channel in training."""
    unit_m: float
    """Metres in a unit of the cloud."""
    errors: dict[str, Folds]
    """Of the coefficients on left-out codes, of `ridge` and, where it was tried, of `mlp`."""

    def __len__(self) -> int:
        return len(self.reference)

    @property
    def rank(self) -> int:
        return len(self.columns)

    def dense(self) -> Float[Tensor, "K N 13"]:
        """The columns as floats, Gaussian by Gaussian."""
        steps = self.scales.astype(np.float32)
        return torch.from_numpy(np.ascontiguousarray((self.columns * steps[:, :, None]).transpose(0, 2, 1)))


class Baked:
    """A basis made ready to play: the columns as floats, 4 x 13 x K bytes a Gaussian."""

    def __init__(self, basis: Basis) -> None:
        self.basis = basis
        self._columns = basis.dense().reshape(basis.rank, -1)

    @torch.no_grad()
    def __call__(self, code: Float[Tensor, "dim"]) -> Splats:
        """The cloud under a code, in the head's own frame."""
        by = self.basis.regressor(code) @ self._columns
        return deviated(self.basis.reference, by.reshape(-1, ATTRIBUTES))
