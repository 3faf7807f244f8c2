"""Density control (densification and pruning): after a step it may return an Edit, which `fit` applies.

To add one, write a class with the methods of DensityControl; nothing has to be registered.
"""

from __future__ import annotations

import torch

from gs_reg.densify.config import DensifyConfig
from gs_reg.densify.control import DensityControl
from gs_reg.densify.default import DefaultControl
from gs_reg.densify.mcmc import McmcControl
from gs_reg.densify.observation import Observation
from gs_reg.render.gsplat import strategies

__all__ = ["DensifyConfig", "DensityControl", "Observation", "check", "density_control"]


def check(config: DensifyConfig, device: torch.device) -> None:
    """Raises MissingPart where the method needs gsplat and it is not installed."""
    if config.method == "default" or (config.method == "mcmc" and device.type == "cuda"):
        strategies()


def density_control(config: DensifyConfig, seed: int = 0) -> DensityControl | None:
    """The density control that the config names; None for method "none"."""
    if config.method == "none":
        return None
    return (DefaultControl if config.method == "default" else McmcControl)(config, seed)
