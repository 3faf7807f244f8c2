"""The nearest neighbours of points."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg import _ops

MOST = 32


def nearest(points: Float[Tensor, "N 3"], k: int) -> tuple[Int[Tensor, "N k"], Float[Tensor, "N k"]]:
    """Indices (int32) and squared distances of the k nearest other points, nearest first, ties by index on the CPU.

    Raises:
        ValueError: k is not in 1..32, there are not more than k points, or a point is not finite.
    """
    if not 1 <= k <= MOST:
        raise ValueError(f"k: expected 1 to {MOST}, got {k}")
    if 0 < len(points) <= k:
        raise ValueError(f"points: {k} neighbours need more than {k} points, got {len(points)}")
    if not torch.isfinite(points).all():
        raise ValueError("points: a coordinate is not finite")
    points = points.detach()
    return _ops.nearest(points, k) if _ops.is_native(points) else nearest_by_tree(points, k)


def nearest_by_tree(points: Float[Tensor, "N 3"], k: int) -> tuple[Int[Tensor, "N k"], Float[Tensor, "N k"]]:
    """The same for other devices and types, by scipy's tree on the host: a graph is built once in many steps."""
    from scipy.spatial import KDTree

    host = points.double().cpu().numpy()
    tree = KDTree(host)
    found = np.empty((len(host), k + 1), dtype=np.int64)
    # in the order of the leaves, which halves the time
    found[tree.indices] = tree.query(host[tree.indices], k + 1, workers=-1)[1]
    # itself is not always the first where points coincide
    own = found == np.arange(len(host))[:, None]
    own[~own.any(1), -1] = True
    index = torch.from_numpy(found[~own].reshape(-1, k)).to(points.device)
    return index.int(), (points[:, None] - points[index]).square().sum(-1)
