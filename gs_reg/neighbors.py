"""The nearest neighbours of points, and the Laplacian energy of attributes on their graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gs_reg import _ops

MAX_NEIGHBORS = 64
"""What the kernels have room for."""


def nearest(
    points: Float[Tensor, "N 3"], k: int, queries: Float[Tensor, "M 3"] | None = None
) -> tuple[Int[Tensor, "Q k"], Float[Tensor, "Q k"]]:
    """Indices (int32) and squared distances of the k nearest points, nearest first, ties by index on the CPU.

    Of each query, and then Q = M; without queries of each point, which does not find itself, and Q = N.

    Raises:
        ValueError: k is not in 1..64, there are too few points, a coordinate is not finite, or queries are of another
            type or device than points.
    """
    for name, given in (("points", points), ("queries", queries)):
        if given is not None and (given.ndim != 2 or given.shape[1] != 3):
            raise ValueError(f"{name}: expected [N, 3], got {list(given.shape)}")
    if not 1 <= k <= MAX_NEIGHBORS:
        raise ValueError(f"k: expected 1 to {MAX_NEIGHBORS}, got {k}")
    if queries is None and 0 < len(points) <= k:
        raise ValueError(f"points: {k} neighbours need more than {k} points, got {len(points)}")
    if queries is not None and len(points) < k and len(queries):
        raise ValueError(f"points: {k} neighbours need at least {k} points, got {len(points)}")
    if queries is not None and (queries.dtype, queries.device) != (points.dtype, points.device):
        raise ValueError(
            f"queries: expected {points.dtype} on {points.device}, got {queries.dtype} on {queries.device}"
        )
    for name, given in (("points", points), ("queries", queries)):
        if given is not None and not torch.isfinite(given).all():
            raise ValueError(f"{name}: a coordinate is not finite")
    points, queries = points.detach(), None if queries is None else queries.detach()
    return _ops.nearest(points, k, queries) if _ops.is_native(points) else nearest_by_tree(points, k, queries)


def nearest_by_tree(
    points: Float[Tensor, "N 3"], k: int, queries: Float[Tensor, "M 3"] | None = None
) -> tuple[Int[Tensor, "Q k"], Float[Tensor, "Q k"]]:
    """The same for other devices and types, by scipy's tree on the host: a graph is built once in many steps."""
    host = points.double().cpu().numpy()
    if queries is None:
        index, queries = _others_by_tree(host, k), points
    else:
        index = _tree(host).query(queries.double().cpu().numpy(), k, workers=-1)[1].reshape(-1, k)
    index = torch.from_numpy(index).to(points.device)
    return index.int(), (queries[:, None] - points[index]).square().sum(-1)


def _others_by_tree(host: np.ndarray, k: int) -> np.ndarray:
    """Rows of the k nearest points but the point itself."""
    tree = _tree(host)
    found = np.empty((len(host), k + 1), dtype=np.int64)
    # in the order of the leaves, which halves the time
    found[tree.indices] = tree.query(host[tree.indices], k + 1, workers=-1)[1]
    # itself is not always the first where points coincide
    own = found == np.arange(len(host))[:, None]
    own[~own.any(1), -1] = True
    return found[~own].reshape(-1, k)


def _tree(host: np.ndarray):
    from scipy.spatial import KDTree

    return KDTree(host)


def morton_order(points: Float[Tensor, "N 3"]) -> Int[Tensor, "N"]:
    """Order of rows along a Morton (Z-order) curve of 2^10 cells a side; ties keep their order."""
    low, high = points.amin(0), points.amax(0)
    cells = ((points - low) / (high - low).clamp_min(1e-30) * 1023).long()
    code = torch.zeros_like(cells[:, 0])
    for bit in range(10):
        for axis in range(3):
            code |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    return code.argsort(stable=True)


@dataclass(frozen=True)
class Graph:
    """Weighted edges by the node that they start from, and again by the one that they lead to, which serves gradients.

    An N + 1st offset ends the edges of the last node.
    """

    offsets: Int[Tensor, "M"]
    nodes: Int[Tensor, "E"]
    weights: Float[Tensor, "E"]
    back_offsets: Int[Tensor, "M"]
    back_nodes: Int[Tensor, "E"]
    back_weights: Float[Tensor, "E"]
    excess: Float[Tensor, "N"]
    """Sum of the weights from a node minus that of the weights to it."""

    def __len__(self) -> int:
        return len(self.excess)


def make_graph(neighbors: Int[Tensor, "N k"], weights: Float[Tensor, "N k"]) -> Graph:
    """The graph of all edges whose weight is not 0; weights are constants.

    Raises:
        ValueError: a neighbour is not one of the N nodes.
    """
    count, weights = len(neighbors), weights.detach()
    if neighbors.numel() and not 0 <= int(neighbors.min()) <= int(neighbors.max()) < count:
        raise ValueError(f"neighbors: expected nodes from 0 to {count - 1}, got {neighbors.min()} to {neighbors.max()}")
    kept = (weights != 0).flatten().nonzero()[:, 0]
    starts, nodes = kept.div(neighbors.shape[1] or 1, rounding_mode="floor").int(), neighbors.flatten()[kept].int()
    weights = weights.flatten()[kept]
    order = nodes.argsort(stable=True)
    excess = torch.zeros(count).to(weights).index_add(0, starts, weights).index_add(0, nodes, weights, alpha=-1)
    return Graph(_offsets(starts, count), nodes, weights, _offsets(nodes, count), starts[order], weights[order], excess)


def _offsets(nodes: Int[Tensor, "E"], count: int) -> Int[Tensor, "M"]:
    counts = torch.bincount(nodes, minlength=count)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def gaussian_weights(distances: Float[Tensor, "N k"], mask: Bool[Tensor, "N k"] | None = None) -> Float[Tensor, "N k"]:
    """Weights that fall with the squared distance, relative to the mean distance of a node's neighbours.

    Those of a node sum to 1; where the mask keeps none they are 0, which leaves the node free.
    """
    spread = distances.sqrt().mean(1, keepdim=True).square()
    weights = torch.exp(-distances / (2 * spread).clamp_min(torch.finfo(spread.dtype).tiny))
    weights = weights if mask is None else weights * mask
    return weights / weights.sum(1, keepdim=True).clamp_min(torch.finfo(spread.dtype).tiny)


def laplacian_energy(
    features: Float[Tensor, "N F"], graph: Graph, attributes: Float[Tensor, "F"] | None = None
) -> Float[Tensor, ""]:
    """Mean over nodes of sum_f a_f r_if^2 with r_i = sum_j w_ij (f_i - f_j), the graph Laplacian of the features.

    Raises:
        ValueError: the graph has another number of nodes.
    """
    if len(features) != len(graph):
        raise ValueError(f"features: expected {len(graph)} rows as the graph has nodes, got {len(features)}")
    attributes = features.new_ones(features.shape[1]) if attributes is None else attributes
    if attributes.shape != features.shape[1:]:
        raise ValueError(f"attributes: expected {list(features.shape[1:])}, got {list(attributes.shape)}")
    if not _ops.is_native(features, graph.weights, attributes):
        return laplacian_energy_reference(features, graph, attributes)
    edges = [graph.offsets, graph.nodes, graph.weights]
    transposed = [graph.back_offsets, graph.back_nodes, graph.back_weights, graph.excess]
    return _ops.laplacian(features, attributes, edges, transposed)[0]


def laplacian_energy_reference(
    features: Float[Tensor, "N F"], graph: Graph, attributes: Float[Tensor, "F"]
) -> Float[Tensor, ""]:
    """laplacian_energy in plain torch."""
    starts = torch.arange(len(graph), device=features.device).repeat_interleave(graph.offsets.diff())
    steps = graph.weights.to(features)[:, None] * (features[starts] - features[graph.nodes.long()])
    residual = torch.zeros_like(features).index_add(0, starts, steps)
    return (attributes * residual.square()).sum() / max(len(features), 1)
