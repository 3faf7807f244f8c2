"""What a live page shows of a fit: its photos, how a picture of its model is drawn, and the frame of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.fit import Step
from gs_reg.geometry import transform_cameras
from gs_reg.io.opening import some_of, viewing_distance
from gs_reg.render import render
from gs_reg.state import Posed
from gs_reg.types import Cameras, Views

from ..frame import frame_around


@dataclass(frozen=True)
class LivePhoto:
    name: str
    camera: Cameras
    """In the world of the training views."""
    held_out: bool
    load: Callable[[], Views]
    """Reads the photo, over `Subject.background` where it has alphas; it is called only once somebody looks at it."""
    frame: int | None = None
    """As that of its views."""


DrawModel = Callable[[Step, Views, Float[Tensor, "3"], bool], Float[Tensor, "H W 3"]]
"""The model after a step, from the one camera of the views, at their frame, over a background; the camera moves or not.
It is called without gradients."""


def draw_model(step: Step, views: Views, background: Float[Tensor, "3"], moving: bool) -> Float[Tensor, "H W 3"]:
    """As the step was drawn, without dropout and over one background; without supersampling while the camera moves."""
    shot, model = step.shot, step.state.model
    splats = shot.dropout.with_expected_opacity(model(views))
    cameras = model.cameras(views) if isinstance(model, Posed) else views.cameras
    config = replace(shot.render, absgrad=False, supersample=1 if moving else shot.render.supersample)
    return render(splats, cameras, config, backgrounds=background[None]).colors[0]


@dataclass(frozen=True)
class Subject:
    photos: Sequence[LivePhoto]
    """Training photos first; at least one."""
    background: Float[Tensor, "3"]
    means: Float[Tensor, "N 3"]
    """Of the first splats, in the world, on the device that draws: about them is the page."""
    draw: DrawModel = draw_model

    @cached_property
    def world_from_page(self) -> Float[Tensor, "4 4"]:
        return frame_around(self.means)

    def to_page(self, camera: Cameras) -> Cameras:
        return transform_cameras(torch.linalg.inv(self.world_from_page), camera.to("cpu", torch.float64))

    def views(self, camera: Cameras, frame: int | None) -> Views:
        """For drawing from a camera of the page."""
        world = transform_cameras(self.world_from_page, camera.to("cpu", torch.float64))
        return Views(world.to(self.means.device, torch.float32), frame=frame)

    def distance(self, camera: Cameras) -> float:
        """From a camera of the page to what it looks at, in units of the page."""
        page_from_world = torch.linalg.inv(self.world_from_page)
        some = some_of(self.means.detach().cpu())
        return viewing_distance(some @ page_from_world[:3, :3].T + page_from_world[:3, 3], camera)
