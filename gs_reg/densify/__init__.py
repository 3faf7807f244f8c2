"""Density control (densification and pruning): after a step it may return an Edit, which `fit` applies.

To add one, write a class with the methods of DensityControl; nothing has to be registered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from gs_reg.densify.config import DensifyConfig
from gs_reg.densify.default import DefaultControl
from gs_reg.densify.mcmc import McmcControl
from gs_reg.densify.observation import Observation
from gs_reg.edit import Edit
from gs_reg.render.gsplat import strategies
from gs_reg.types import Cameras, Render, Splats

__all__ = ["DensifyConfig", "DensityControl", "Observation", "check", "density_control"]


@runtime_checkable
class DensityControl(Protocol):
    """What `fit` calls around the backward pass, named as in gsplat. Only `step_post_backward` has no default."""

    @property
    def absgrad(self) -> bool:
        """Whether it needs `image.means2d.absgrad` (AbsGS)."""
        return False

    def step_pre_backward(self, image: Render, splats: Splats, cameras: Cameras) -> None:
        """Before the backward pass: calls `image.means2d.retain_grad()` if it needs these gradients."""

    def step_post_backward(self, observation: Observation) -> Edit | None:
        """After the optimiser's update: the structural change; None = none. Random by seed and step alone."""
        ...

    def tensors(self) -> Mapping[str, Tensor]:
        """Its state, which checkpoints keep."""
        return {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores what `tensors` returned."""


def check(config: DensifyConfig, device: torch.device) -> None:
    """Raises MissingPart where the method needs gsplat and it is not installed."""
    if config.method == "default" or (config.method == "mcmc" and device.type == "cuda"):
        strategies()


def density_control(config: DensifyConfig, seed: int = 0) -> DensityControl | None:
    """The density control that the config names; None for method "none"."""
    if config.method == "none":
        return None
    return (DefaultControl if config.method == "default" else McmcControl)(config, seed)
