"""`gs-reg bench ops`: the operators around the rasterizer, each beside a library that does the same."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor

from gs_reg import _ops, neighbors
from gs_reg.sh import sh_colors, sh_colors_reference
from gs_reg.ssim import l1_and_dssim, masked_mean, ssim_map
from gs_reg.terms.smoothness import pair_sums, pair_sums_reference


@dataclass(frozen=True)
class Config:
    repeats: int = 10
    """Runs of each, in turns; the best counts, for other programs may be running."""
    json: Path | None = None
    """File for the rows."""


@dataclass(frozen=True)
class Case:
    """One operator, by a library and, unless the library's is what we use, by ours."""

    op: str
    library: str
    by_library: Callable[[], object]
    by_ours: Callable[[], object] | None = None


class Row(TypedDict):
    op: str
    library: str
    library_ms: float
    ours_ms: float | None
    kept: str
    """Which of the two gs_reg uses."""


def main(config: Config) -> int:
    from rich.console import Console
    from rich.table import Table

    found = rows(config.repeats)
    table = Table("operator", "library", "library ms", "ours ms", "kept")
    for row in found:
        ours = "-" if row["ours_ms"] is None else f"{row['ours_ms']:.1f}"
        table.add_row(row["op"], row["library"], f"{row['library_ms']:.1f}", ours, row["kept"])
    Console().print(table)
    if config.json:
        config.json.write_text(json.dumps({"isa": _ops.native_info()["isa"], "rows": found}, indent=2) + "\n")
    return 0


def rows(repeats: int, share: float = 1.0) -> list[Row]:
    """The best milliseconds of both, measured in this process; `share` shrinks all sizes."""
    return [_measured(case, repeats) for case in _cases(share)]


def _measured(case: Case, repeats: int) -> Row:
    best = {"library": float("inf"), "ours": float("inf")}
    for _ in range(repeats + 1):  # the first warms up
        for name, job in (("library", case.by_library), ("ours", case.by_ours)):
            if job:
                start = time.perf_counter()
                job()
                best[name] = min(best[name], 1e3 * (time.perf_counter() - start))
    return {
        "op": case.op,
        "library": case.library,
        "library_ms": best["library"],
        "ours_ms": best["ours"] if case.by_ours else None,
        "kept": "ours" if case.by_ours else "library",
    }


def _cases(share: float) -> Iterator[Case]:
    torch.manual_seed(0)
    yield _photometric(max(int(378 * share), 16), max(int(504 * share), 16))
    yield _spherical_harmonics(int(571_536 * share))
    yield _pixel_aligned(int(571_536 * share))
    yield _total_variation(max(int(378 * share), 16), max(int(504 * share), 16))
    points = _surface_points(int(250_000 * share))
    yield _nearest_neighbours(points, 16)
    yield from (_laplacian(points, 16, channels) for channels in (8, 21))
    yield _adam(int(571_536 * share))


def _with_gradients(function: Callable[..., Tensor], *leaves: Tensor) -> Callable[[], object]:
    """A job that computes the function and its gradients."""
    leaves = tuple(leaf.clone().requires_grad_() for leaf in leaves)
    return lambda: torch.autograd.grad(function(*leaves), leaves)


def _photometric(height: int, width: int) -> Case:
    image, photo = torch.rand(2, 1, height, width, 3)

    def by_torch(x: Tensor) -> Tensor:
        return 0.8 * masked_mean((x - photo).abs(), None) + 0.2 * masked_mean(1 - ssim_map(x, photo), None)

    def by_ours(x: Tensor) -> Tensor:
        l1, dssim = l1_and_dssim(x, photo)
        return 0.8 * l1 + 0.2 * dssim

    op = f"L1 + SSIM, {width}x{height}, with gradient"
    jobs = [_with_gradients(f, image) for f in (by_torch, by_ours)]
    return Case(op, "torch, separable window as shifted sums", *jobs)


def _spherical_harmonics(count: int) -> Case:
    sh, means, centers = torch.randn(count, 4, 3), torch.randn(count, 3), torch.randn(1, 3)
    jobs = [_with_gradients(lambda x, f=f: f(x, means, centers, 1).sum(), sh) for f in (sh_colors_reference, sh_colors)]
    return Case(f"SH of degree 1, 3 channels, {count} rows, with gradient", "torch", *jobs)


def _pixel_aligned(count: int) -> Case:
    residual, start, origins, rays, sizes = (torch.randn(count, *n) for n in ((), (), (3,), (3,), (3,)))

    def by_torch(residual: Tensor, sizes: Tensor) -> Tensor:
        logs = start + 0.5 * torch.tanh(residual)
        return (origins + logs.exp()[:, None] * rays).sum() + (sizes + logs[:, None]).sum()

    def by_ours(residual: Tensor, sizes: Tensor) -> Tensor:
        means, log_scales = _ops.along_rays(residual, start, origins, rays, sizes, 0.5)
        return means.sum() + log_scales.sum()

    jobs = [_with_gradients(f, residual, sizes) for f in (by_torch, by_ours)]
    return Case(f"pixel-aligned rows, {count}, with gradient", "torch", *jobs)


def _total_variation(height: int, width: int) -> Case:
    photo, valid = torch.rand(1, height, width, 3), torch.rand(1, height, width) > 0.1

    def total(sums: Tensor) -> Tensor:
        return (sums[:, 0] / sums[:, 1]).sum()

    def by_torch(disparity: Tensor) -> Tensor:
        return total(pair_sums_reference(disparity, valid, None, photo, 0.1))

    def by_ours(disparity: Tensor) -> Tensor:
        return total(pair_sums(disparity, valid, None, photo, 0.1))

    jobs = [_with_gradients(f, torch.rand(1, height, width)) for f in (by_torch, by_ours)]
    return Case(f"masked total variation, {width}x{height}, with gradient", "torch", *jobs)


def _surface_points(count: int) -> Tensor:
    """Points near a sphere, in the order of the leaves of a k-d tree: neighbours are close in memory."""
    from scipy.spatial import KDTree

    points = torch.nn.functional.normalize(torch.randn(count, 3)) + 2e-3 * torch.randn(count, 3)
    return points[torch.from_numpy(KDTree(points.numpy()).indices)]


def _nearest_neighbours(points: Tensor, k: int) -> Case:
    return Case(
        f"{k} nearest of {len(points)} points on a surface",
        "scipy KDTree in the order of its leaves, workers=-1",
        lambda: neighbors.nearest_by_tree(points, k),
        lambda: neighbors.nearest(points, k),
    )


def _laplacian(points: Tensor, k: int, channels: int) -> Case:
    index, distances = neighbors.nearest(points, k)
    graph = neighbors.make_graph(index, neighbors.gaussian_weights(distances))
    size, features = (len(points), len(points)), torch.randn(len(points), channels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that sparse CSR is in beta
        edges = torch.sparse_csr_tensor(graph.offsets.int(), graph.nodes, graph.weights, size)
        back = torch.sparse_csr_tensor(graph.back_offsets.int(), graph.back_nodes, graph.back_weights, size)

    def by_torch() -> Tensor:
        residual = features - edges @ features
        residual.square().sum()
        return (residual - back @ residual) * (2 / len(points))

    ours = _with_gradients(lambda x: neighbors.laplacian_energy(x, graph), features)
    op = f"graph Laplacian, {len(points)} nodes, {k} edges, {channels} channels, with gradient"
    return Case(op, "torch sparse CSR and its transpose", by_torch, ours)


def _adam(count: int) -> Case:
    groups = [torch.randn(count, *n, requires_grad=True) for n in ((), (), (3,), (3,), (4,), (3,))]
    for values in groups:
        values.grad = torch.randn_like(values)
    optimizer = torch.optim.Adam([{"params": [values]} for values in groups], eps=1e-15, fused=True)
    return Case(f"Adam, {count} rows of 15 in 6 groups", "torch fused", optimizer.step)
