"""What density control looks at after a step."""

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
    """Rows of the model after the update, without gradients."""
    image: Render
    """What was drawn before it; `image.means2d.grad` is there where it was asked for."""
    size: tuple[int, int]
    """Width and height of the picture that `means2d` are pixels of."""
    decay: float
    """Share of their first rates that the learning rates have at this step."""


def median_depth(image: Render, splats: Splats, cameras: Cameras) -> Tensor | None:
    """Median depth of the Gaussians that are drawn, as a double; None where none is. The unit of sizes in the world."""
    if not image.visible.any():
        return None
    depths = splats.means.detach() @ cameras.viewmats[:, 2, :3].T + cameras.viewmats[:, 2, 3]
    return depths.T[image.visible].median().double()


@contextmanager
def seeded(observation: Observation, seed: int) -> Iterator[None]:
    """Without gradients, and with torch's global generator seeded by seed and step; what it was comes back."""
    device = observation.splats.means.device
    with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(1_000_003 * seed + 7 * observation.step + 3)
        yield
