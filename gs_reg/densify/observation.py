"""What density control gets to see after a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from gs_reg.types import Cameras, Render, Splats


@dataclass(frozen=True)
class Observation:
    step: int
    steps: int
    splats: Splats
    """The model's canonical rows after the update, detached."""
    image: Render
    """The render before the update; `image.means2d.grad` is there if `step_pre_backward` called retain_grad()."""
    size: tuple[int, int]
    """Width and height in the pixels of `means2d`: the supersampled size."""
    decay: float
    """Factor of the learning rate schedule at this step."""
    frame: int | None = None
    """Of the views that were drawn."""


def median_depth(image: Render, splats: Splats, cameras: Cameras) -> Tensor | None:
    """Median camera-space z of the visible Gaussians, as a double; None where none is visible.

    Stands in for gsplat's `scene_scale`, which is the extent of the cameras.
    """
    if not image.visible.any():
        return None
    depths = splats.means.detach() @ cameras.viewmats[:, 2, :3].T + cameras.viewmats[:, 2, 3]
    return depths.T[image.visible].median().double()


@contextmanager
def seeded_rng(observation: Observation, seed: int) -> Iterator[None]:
    """No gradients, and torch's global generator seeded by seed and step; its former state is restored.

    gsplat's strategies draw from the global generator. Seeding it in each step makes a resumed run repeat the bits.
    """
    device = observation.splats.means.device
    with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(1_000_003 * seed + 7 * observation.step + 3)
        yield
