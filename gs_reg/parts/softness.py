"""Labels over all views: their means, and how soft they are, after the paper's softness with a corrected entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.sh import sh_sums
from gs_reg.types import Cameras

SHARPNESS = 0.1
"""The cosines of labels are divided by this. Undivided, even a perfect label has most of the largest entropy."""


@dataclass(frozen=True)
class ViewMoments:
    """Of the labels of N Gaussians over all views, weighted by how much of a Gaussian a view shows."""

    mean: Float[Tensor, "N D"]
    variance: Float[Tensor, "N"]
    """Mean over labels."""
    seen: Float[Tensor, "N"]
    """Sum of the weights; where it is 0 so are the moments."""


@torch.no_grad()
def view_moments(
    sh: Float[Tensor, "N K D"], means: Float[Tensor, "N 3"], cameras: Cameras, weights: Float[Tensor, "C N"]
) -> ViewMoments:
    """Of labels clamped at 0, as a picture cannot show less."""
    degree = round(sh.shape[1] ** 0.5) - 1
    seen = weights.sum(0)
    total, squares = sh.new_zeros(len(sh), sh.shape[2]), sh.new_zeros(len(sh))
    for center, share in zip(cameras.centers, weights / seen.clamp_min(1e-12), strict=True):
        label = sh_sums(sh, means, center[None], degree)[0].clamp_(min=0)
        total += share[:, None] * label
        squares += share * label.square().mean(1)
    variance = (squares - total.square().mean(1)).clamp_min(0)
    return ViewMoments(total, variance, seen)


def softness(moments: ViewMoments) -> Float[Tensor, "N"]:
    """Entropy of the mean label, 0 to 1, times the variance over views."""
    cosines = F.normalize(moments.mean, dim=1)  # with the labels of one part alone
    chances = (cosines / SHARPNESS).softmax(1)
    entropy = -(chances * chances.clamp_min(1e-12).log()).sum(1) / math.log(max(chances.shape[1], 2))
    return entropy * moments.variance
