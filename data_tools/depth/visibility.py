"""How many photos see the surface that each pixel shows."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.types import Views

from .mvs.consistency import check_consistency
from .mvs.images import make_image

SAME_SURFACE = 0.03
"""Depths within this share of one another are of one surface."""


def seeing_views(views: Sequence[Views], depths: Sequence[Float[Tensor, "_ _"]]) -> tuple[Int[Tensor, "_ _"], ...]:
    """How many of the views see the surface at each pixel, its own view included, by a test against their depths.

    Depth 0 = nothing there, which 0 views see.
    """
    images = [make_image(view, float("inf")) for view in views]
    surfaces = [torch.where(z > 0, 1 / z, 0.0).double().numpy() for z in depths]

    def count(i: int) -> Tensor:
        others = [j for j in range(len(views)) if j != i]
        tolerances = [SAME_SURFACE * surfaces[i]] * len(others)
        check = check_consistency(
            images[i], [images[j] for j in others], surfaces[i], [surfaces[j] for j in others], tolerances
        )
        return torch.from_numpy(np.where(surfaces[i] > 0, 1 + check.views, 0))

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return tuple(pool.map(count, range(len(views))))
