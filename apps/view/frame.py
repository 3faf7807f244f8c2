"""The frame of a page, in which what is shown is about 1 in size, as controls and browsers want it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.io.opening import some_of


def frame_around(means: Float[Tensor, "N 3"]) -> Float[Tensor, "4 4"]:
    """World from page, a similarity in double precision: the origin is the middle of the means, 1 the reach of most."""
    some, matrix = some_of(means.detach().cpu()), torch.eye(4, dtype=torch.float64)
    middle = some.median(0).values
    matrix[:3, 3] = middle
    matrix[:3, :3] *= max(float((some - middle).norm(dim=1).quantile(0.9)), 1e-12)
    return matrix
