"""Sums whose bits do not depend on the number of threads: torch cuts a sum to one number into one piece a thread."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Shaped
from torch import Tensor

PIECE = 4096
"""Numbers that one thread adds up; up to 8 times as many pieces are one thread's as well (torch's grain is 32,768)."""


def ordered_sum(values: Shaped[Tensor, "*S"]) -> Shaped[Tensor, ""]:
    """values.sum(), piece by piece; differentiable."""
    flat = values.flatten()
    while flat.numel() > PIECE:
        if flat.numel() % PIECE:
            flat = F.pad(flat, (0, -flat.numel() % PIECE))
        flat = flat.view(-1, PIECE).sum(1)
    return flat.sum()


def ordered_mean(values: Shaped[Tensor, "*S"]) -> Shaped[Tensor, ""]:
    """values.mean() by `ordered_sum`; NaN where there are none."""
    return ordered_sum(values) / values.numel()
