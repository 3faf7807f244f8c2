"""The One-Euro filter (Casiez, Roussel, Vogel 2012): less lag the faster a signal moves."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.driving.types import Drive
from gs_reg.priors import HeadPose
from gs_reg.rotations import quat_to_rotmat, rotmat_to_quat

TURN, MOVE = 4.0, 10.0
"""Of quaternions and metres: a turn of 30 degrees and a move of 10 cm open the filter as a coefficient of 1 does."""


@dataclass(frozen=True)
class SmoothingConfig:
    min_cutoff: float = 1.5
    """Hertz that pass at rest: lower shakes less."""
    beta: float = 3.0
    """How much faster motion opens the filter: higher lags less. A tenth of it, at 25 frames a second, swallows half of
    a blink."""
    speed_cutoff: float = 1.0
    """Hertz of the speed's own filter."""


class OneEuro:
    """The filter of one stream of rows; each channel has its own cut-off."""

    def __init__(self, fps: float, config: SmoothingConfig = SmoothingConfig()) -> None:
        self._fps, self._config = fps, config
        self._value: Tensor | None = None
        self._speed: Tensor | None = None

    def __call__(self, value: Float[Tensor, "C"]) -> Float[Tensor, "C"]:
        if self._value is None or self._speed is None:
            self._value, self._speed = value.clone(), torch.zeros_like(value)
            return value
        speed = (value - self._value) * self._fps
        self._speed = self._speed + self._share(self._config.speed_cutoff) * (speed - self._speed)
        cutoff = self._config.min_cutoff + self._config.beta * self._speed.abs()
        self._value = self._value + self._share(cutoff) * (value - self._value)
        return self._value

    def _share(self, cutoff):
        return 1 / (1 + self._fps / (2 * math.pi * cutoff))


def smoothed(drive: Drive, config: SmoothingConfig = SmoothingConfig()) -> Drive:
    """The drive with filtered coefficients, codes and poses; scales of poses are kept."""
    quats = rotmat_to_quat(drive.pose.rotation)
    pose = HeadPose(
        quat_to_rotmat(F.normalize(_filtered(TURN * _one_side(quats), drive.fps, config), dim=-1)),
        _filtered(MOVE * drive.pose.translation, drive.fps, config) / MOVE,
        drive.pose.scale,
        drive.pose.unit_m,
    )
    arkit, codes = (
        None if values is None else _filtered(values, drive.fps, config) for values in (drive.arkit, drive.codes)
    )
    return replace(drive, arkit=arkit, codes=codes, pose=pose)


def _filtered(values: Float[Tensor, "T C"], fps: float, config: SmoothingConfig) -> Float[Tensor, "T C"]:
    step = OneEuro(fps, config)
    return torch.stack([step(row) for row in values])


def _one_side(quats: Float[Tensor, "T 4"]) -> Float[Tensor, "T 4"]:
    """q and -q are one rotation: signs without jumps."""
    flips = (quats[1:] * quats[:-1]).sum(-1) < 0
    signs = torch.where(torch.cat([flips.new_zeros(1), flips]).cumsum(0) % 2 == 1, -1.0, 1.0)
    return quats * signs[:, None].to(quats)
