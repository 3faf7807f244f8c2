"""The same work of an avatar in plain torch and by pytorch3d, for `gs-reg bench avatar`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.fields.coarse import SKIP, CoarseField
from gs_reg.fields.inputs import SplitLayer, encode

CHUNK = 1024
"""Rows of the distance matrix at once."""


def neighbors_torch(points: Float[Tensor, "N 3"], k: int) -> Int[Tensor, "N k"]:
    """By a matrix of distances, a strip at a time."""
    parts = [torch.cdist(strip, points).topk(k + 1, largest=False).indices[:, 1:] for strip in points.split(CHUNK)]
    return torch.cat(parts)


def neighbors_pytorch3d(points: Float[Tensor, "N 3"], k: int) -> Callable[[], object] | None:
    """None where pytorch3d is not installed."""
    if find_spec("pytorch3d") is None:
        return None
    from pytorch3d.ops import knn_points

    return lambda: knn_points(points[None], points[None], K=k + 1)


def laplacian_torch(
    features: Float[Tensor, "N C"], neighbors: Int[Tensor, "N k"], weights: Float[Tensor, "N k"]
) -> Float[Tensor, ""]:
    """By a gather, whose gradient scatters."""
    residual = features - (weights[..., None] * features[neighbors.long()]).sum(1)
    return residual.square().sum() / len(features)


def laplacian_pytorch3d(
    points: Float[Tensor, "N 3"], neighbors: Int[Tensor, "N k"], features: Float[Tensor, "N C"]
) -> Callable[[], object] | None:
    """By its sparse mesh Laplacian of the same edges; None where it is not installed."""
    if find_spec("pytorch3d") is None:
        return None
    from pytorch3d.ops.laplacian_matrices import laplacian

    starts = torch.arange(len(points)).repeat_interleave(neighbors.shape[1])
    edges = torch.stack([starts, neighbors.long().flatten()], 1)
    edges = torch.unique(edges.sort(1).values, dim=0)
    matrix = laplacian(points, edges)

    def run() -> Tensor:
        leaf = features.detach().requires_grad_()
        (torch.sparse.mm(matrix, leaf).square().sum() / len(leaf)).backward()
        assert leaf.grad is not None
        return leaf.grad

    return run


def bumps_torch(
    field: CoarseField, x: Tensor, latent: Tensor, gates: Tensor | None, z: Float[Tensor, "D"]
) -> list[tuple[Tensor, Tensor]]:
    """By products with all bumps, a strip of points at a time; a Jacobian that is not constant goes that way."""
    gated = [None] * len(x.split(CHUNK)) if gates is None else gates.split(CHUNK)
    strips = zip(x.split(CHUNK), latent.split(CHUNK), gated, strict=True)
    return [field.with_jacobian(*strip, z, constant=False) for strip in strips]


def field_torch(
    field: CoarseField, x: Tensor, latent: Tensor, gates: Tensor | None, z: Float[Tensor, "D"]
) -> Float[Tensor, "N 3"]:
    """The field without its split first layer: the gated code is an input of every point."""
    first = field.first
    assert isinstance(first, SplitLayer) and gates is not None
    code = field.standardised(z)
    sizes = torch.tensor(first.groups)
    gated = code * gates.repeat_interleave(sizes, dim=1)
    inputs = torch.cat([encode(x, first.octaves), latent, gated], dim=1)
    weight = torch.cat([first.point.weight, first.code], dim=1)
    h, skip = F.linear(inputs, weight, first.point.bias).split(field.width, -1)
    h = F.silu(h)
    for i, layer in enumerate(field.hidden, 1):
        h = layer(h)
        h = F.silu(h + skip if i == SKIP else h)
    return field.out(h)


def jacobian_torch(field: CoarseField, x: Tensor, latent: Tensor, gates: Tensor | None, z: Tensor) -> Tensor:
    """Its derivatives by three forward-mode products."""
    columns = []
    for axis in range(3):
        tangent = F.one_hot(torch.tensor(axis), 3).to(x).expand_as(x)
        columns.append(torch.func.jvp(lambda p: field_torch(field, p, latent, gates, z), (x,), (tangent,))[1])
    return torch.stack(columns, -1)
