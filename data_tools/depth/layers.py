"""Depth layers of a photo: its inverse depths in a few groups of like value (Ward's clustering)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

SAMPLES = 2000
"""Clustering takes time and memory of the square of the samples."""


def depth_layers(inverse_depth: Float[Tensor, "H W"], count: int = 5) -> UInt8[Tensor, "H W"]:
    """Layer of every pixel, 0 the farthest; fewer than `count` layers where there are fewer different values.

    A layer reaches from its own smallest sample up to the next layer's; the two outer ones have no end, so that every
    pixel lies in exactly one.

    Raises:
        ValueError: a value is not finite.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    if not torch.isfinite(inverse_depth).all():
        raise ValueError("depth_layers: expected finite inverse depths for every pixel")
    values = inverse_depth.double().flatten().sort().values
    sample = values[:: max(1, -(-len(values) // SAMPLES))].numpy()  # quantiles at even distances
    if len(sample) == 1 or count == 1:
        return torch.zeros(inverse_depth.shape, dtype=torch.uint8)
    groups = fcluster(linkage(sample[:, None], "ward"), count, "maxclust")
    edges = np.sort([sample[groups == group].min() for group in np.unique(groups)])[1:]
    return torch.bucketize(inverse_depth.double(), torch.from_numpy(edges), right=True).to(torch.uint8)
