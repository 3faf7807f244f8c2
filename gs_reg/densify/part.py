"""Density control within the part that is edited: it gets to see no other Gaussian."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from jaxtyping import Bool
from torch import Tensor

from gs_reg.densify.control import DensityControl
from gs_reg.densify.observation import Observation
from gs_reg.edit import Edit
from gs_reg.types import Cameras, Render, Splats


class PartDensity(DensityControl):
    """Another density control, which works on the rows whose `extra["edited"]` is 1 as if they were the scene."""

    def __init__(self, inner: DensityControl):
        self.inner = inner

    @property
    def absgrad(self) -> bool:
        return self.inner.absgrad

    def tensors(self) -> Mapping[str, Tensor]:
        return self.inner.tensors()

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self.inner.load(tensors)

    def step_pre_backward(self, image: Render, splats: Splats, cameras: Cameras) -> None:
        # the gradients come to the whole picture's means2d, of which a selection is only a copy
        image.means2d.retain_grad()
        edited = splats.extra["edited"] > 0
        part = replace(image, means2d=image.means2d[:, edited], radii=image.radii[:, edited])
        self.inner.step_pre_backward(part, splats.rows(edited), cameras)

    def step_post_backward(self, observation: Observation) -> Edit | None:
        edited = observation.splats.extra["edited"] > 0
        image = _of_part(observation.image, edited)
        edit = self.inner.step_post_backward(replace(observation, splats=observation.splats.rows(edited), image=image))
        if edit is None or (edit.rows is not None and len(edit.rows) == 0):
            return None  # a part that fades away is left as it is
        return replace(edit, axis="part")


def _of_part(image: Render, edited: Bool[Tensor, "N"]) -> Render:
    means2d = image.means2d.detach()[:, edited]
    if image.means2d.grad is not None:
        means2d.grad = image.means2d.grad[:, edited]
    if (absolute := getattr(image.means2d, "absgrad", None)) is not None:
        means2d.absgrad = absolute[:, edited]  # type: ignore[attr-defined]
    return replace(image, means2d=means2d, radii=image.radii[:, edited])
