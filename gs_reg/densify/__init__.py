"""Density control: Gaussians that come and go while they are trained. Each step may give an Edit, which `fit` applies.

To add one: a class with the methods of DensityControl; nothing here has to know it.
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
    """What `fit` asks after each step. A subclass needs `step_post_backward` alone; the rest has defaults."""

    @property
    def absgrad(self) -> bool:
        """Whether it reads the absolute gradients of the projected centres."""
        return False

    def step_pre_backward(self, image: Render, splats: Splats, cameras: Cameras) -> None:
        """Before the gradients of a step: asks for those that it reads, such as `image.means2d.retain_grad()`."""

    def step_post_backward(self, observation: Observation) -> Edit | None:
        """After the update of a step: what is to come and go. Its randomness is of seed and step alone."""
        ...

    def tensors(self) -> Mapping[str, Tensor]:
        """What it remembers from step to step."""
        return {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `tensors`."""


def check(config: DensifyConfig, device: torch.device) -> None:
    """Raises MissingPart where the method needs gsplat and it is not installed."""
    if config.method == "default" or (config.method == "mcmc" and device.type == "cuda"):
        strategies()


def density_control(config: DensifyConfig, seed: int = 0) -> DensityControl | None:
    """The one that the config names; None where the number of Gaussians stays."""
    if config.method == "none":
        return None
    return (DefaultControl if config.method == "default" else McmcControl)(config, seed)
