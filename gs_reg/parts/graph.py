"""The graph of nearest Gaussians: smoothing over it, its Laplacian, and the islands of a part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.neighbors import nearest
from gs_reg.types import Splats

NEIGHBORS = 16


@dataclass(frozen=True)
class Graph:
    neighbors: Int[Tensor, "N k"]
    weights: Float[Tensor, "N k"]
    """Greater for near and opaque neighbours; a node's sum to 1, or to 0 where none counts."""

    def mean(self, values: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """Weighted means over neighbours."""
        out = torch.zeros_like(values)
        for column, weight in zip(self.neighbors.T, self.weights.T, strict=True):
            out.addcmul_(weight[:, None].to(values), values[column])
        return out

    def islands(self, ids: Int[Tensor, "N"]) -> tuple[Int[Tensor, "N"], Int[Tensor, "I"]]:
        """The connected island of equal ids that each node lies in, and the sizes of all islands."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        count, k = self.neighbors.shape
        starts = torch.arange(count, device=ids.device)[:, None].expand(count, k)
        same = ids[starts] == ids[self.neighbors]
        ends = [side[same].cpu().numpy() for side in (starts, self.neighbors)]
        edges = coo_array((np.ones(len(ends[0]), np.int8), (ends[0], ends[1])), shape=(count, count))
        found, owner = connected_components(edges, directed=False)
        owner = torch.from_numpy(owner).to(ids.device).long()
        return owner, torch.bincount(owner, minlength=found)


def make_graph(splats: Splats, k: int = NEIGHBORS) -> Graph:
    """Of the k nearest of each Gaussian, or of all others where there are fewer."""
    count = len(splats)
    k = min(k, count - 1)
    if k < 1:
        none = splats.means.new_zeros(count, 0)
        return Graph(none.long(), none)
    index, squares = nearest(splats.means, k)
    index = index.long()
    spread = squares.median(1, keepdim=True).values.clamp_min(torch.finfo(squares.dtype).tiny)
    weights = splats.opacities[index] * torch.exp(-squares / (2 * spread))
    return Graph(index, weights / weights.sum(1, keepdim=True).clamp_min(1e-12))
