"""The k nearest neighbours of every point, or of other places."""

from __future__ import annotations

import torch
from torch import Tensor

from gs_reg._library import _fields, _Struct
from gs_reg._ops._args import call, common, point
from gs_reg._ops._eager import operator


class Neighbors(_Struct):
    _fields_ = _fields("""
        u32 struct_size
        i32 is_double threads
        i64 N M k
        ptr points queries neighbors distances
    """)


@operator("gs_reg::nearest")
def nearest(points: Tensor, k: int, queries: Tensor | None) -> tuple[Tensor, Tensor]:
    """Indices (int32) and squared distances [M,k] of the k nearest points of each query; without queries, [N,k]
    of the k nearest other points of each point. All are finite, k <= 64, and there are enough points."""
    points, queries = points.contiguous(), None if queries is None else queries.contiguous()
    neighbors, distances = _outputs(points, k, queries)
    args = Neighbors(**common(points), N=len(points), M=len(neighbors), k=k)
    point(args, points=points, queries=queries, neighbors=neighbors, distances=distances)
    call("gsr_nearest", args, points)
    return neighbors, distances


def _outputs(points: Tensor, k: int, queries: Tensor | None) -> tuple[Tensor, Tensor]:
    shape = ((points if queries is None else queries).shape[0], k)
    return points.new_empty(shape, dtype=torch.int32), points.new_empty(shape)


@nearest.register_fake
def _(points, k, queries):
    return _outputs(points, k, queries)
