"""What `fit` asks of density control, and what gsplat's two strategies have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from gs_reg.densify.config import DensifyConfig
from gs_reg.densify.observation import Observation, median_depth
from gs_reg.edit import Edit
from gs_reg.errors import InputError
from gs_reg.types import Cameras, Render, Splats


@runtime_checkable
class DensityControl(Protocol):
    """What `fit` calls around the backward pass, named as in gsplat. Only `step_post_backward` has no default."""

    @property
    def absgrad(self) -> bool:
        """Whether it needs `image.means2d.absgrad` (AbsGS)."""
        return False

    def step_pre_backward(self, image: Render, splats: Splats, cameras: Cameras) -> None:
        """Before the backward pass: calls `image.means2d.retain_grad()` if it needs these gradients."""

    @abstractmethod
    def step_post_backward(self, observation: Observation) -> Edit | None:
        """After the optimiser's update: the structural change; None = none. Random by seed and step alone."""
        ...

    def tensors(self) -> Mapping[str, Tensor]:
        """Its state, which checkpoints keep."""
        return {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restores what `tensors` returned."""


class ScaledControl(DensityControl):
    """A strategy whose thresholds are in units of the scene scale, which the first picture that shows anything sets."""

    def __init__(self, config: DensifyConfig, seed: int = 0):
        self.config, self.seed = config, seed
        self._tensors: dict[str, Tensor] = {}
        """`scale`, the scene scale, once it is known; a strategy may keep more."""

    def tensors(self) -> Mapping[str, Tensor]:
        return self._tensors

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Raises InputError: a tensor that is none, or a scene scale of more than one number."""
        for name, tensor in tensors.items():
            if not isinstance(tensor, Tensor) or (name == "scale" and tensor.numel() != 1):
                raise InputError(f"density control: {name}: expected a tensor of its state, got {tensor!r:.40}")
        self._tensors = dict(tensors)

    def step_pre_backward(self, image: Render, splats: Splats, cameras: Cameras) -> None:
        if "scale" not in self._tensors and (scale := median_depth(image, splats, cameras)) is not None:
            self._tensors["scale"] = scale
