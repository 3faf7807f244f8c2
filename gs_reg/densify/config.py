"""Flags of density control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gs_reg.errors import InputError


@dataclass(frozen=True)
class DensifyConfig:
    """Density control runs every `every` steps between the shares `start` and `stop` of the run."""

    method: Literal["none", "default", "mcmc"] = "none"
    """default: clone and split where the gradient is large, prune at low opacity (3DGS; gsplat's DefaultStrategy);
    mcmc: relocate dead Gaussians, add 5 %, add noise to all means (3DGS-MCMC; gsplat's MCMCStrategy)."""
    start: float = 1 / 60
    """Share of the run before which nothing changes."""
    stop: float = 0.5
    """Share of the run after which nothing changes."""
    every: int = 100
    """Steps from one change to the next."""
    prune_opacity: float = 0.005
    """Gaussians of a lower opacity are pruned, with mcmc relocated."""
    grad: float = 2e-4
    """default: mean gradient norm of means2d, in units of half the image size, above which a Gaussian is cloned or
    split; with absgrad 8e-4 is usual."""
    absgrad: bool = False
    """default: use the absolute gradients of means2d (AbsGS)."""
    split_scale: float = 0.01
    """default: scales above this are split, others cloned; in units of the median depth of the first picture."""
    prune_scale: float = 0.1
    """default: scales above this are pruned, after `reset_every` steps; in the same unit."""
    reset_every: int = 3000
    """default: steps from one reset of the opacities to the next; gsplat 1.5.3, by a slip, never does it."""
    cap_max: int = 1_000_000
    """mcmc: largest number of Gaussians."""
    noise: float = 80.0
    """mcmc: strength of the noise, in the same unit; it decays with the learning rates."""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(f"every: expected at least 1 step, got {self.every}")
