"""Codebooks and palettes by k-means: what SOG has instead of numbers."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

ENTRIES = 256
"""Of a codebook: what a byte can name."""
_SAMPLE = 1 << 16
_GROUPS, _GROUP_ROWS = 256, 2000
_CHUNK = 1 << 14


def codebook(values: Float[Tensor, "M"]) -> tuple[Float[Tensor, "E"], UInt8[Tensor, "M"]]:
    """At most 256 numbers, ascending, and for each value the nearest of them: k-means on a line.

    It begins with half of the numbers at quantiles and half evenly spread, so that rare large values keep a neighbour.
    """
    data = values.double().numpy()
    ordered = np.sort(data)
    centers = np.unique(data) if len(data) <= ENTRIES else np.empty(0)
    if len(data) > ENTRIES:
        half = ENTRIES // 2
        spread = np.linspace(ordered[0], ordered[-1], half)
        centers = np.unique(np.concatenate([np.quantile(ordered, (np.arange(half) + 0.5) / half), spread]))
        total = np.concatenate([[0.0], np.cumsum(ordered)])
        for _ in range(40):
            ends = np.searchsorted(ordered, (centers[1:] + centers[:-1]) / 2)
            begin, end = np.concatenate([[0], ends]), np.concatenate([ends, [len(ordered)]])
            count = end - begin
            # an entry that no value is near stays where it is
            centers = np.where(count > 0, (total[end] - total[begin]) / np.maximum(count, 1), centers)
            centers.sort()
    book = centers.astype(np.float32)
    labels = np.searchsorted((book[1:].astype(np.float64) + book[:-1]) / 2, data)
    return torch.from_numpy(book), torch.from_numpy(labels.astype(np.uint8))


def palette(rows: Float[Tensor, "N D"], size: int) -> tuple[Float[Tensor, "P D"], Int[Tensor, "N"]]:
    """At most `size` rows that stand for all, and for each row the one that stands for it.

    k-means in two levels: up to 256 groups, then in each as many entries as its share of the squared error. One would
    take N x size distances.
    """
    rows = rows.float()
    if len(rows) <= size:
        return rows, torch.arange(len(rows))
    generator = torch.Generator().manual_seed(0)
    sample = rows[torch.randperm(len(rows), generator=generator)[:_SAMPLE]]
    coarse = _means(sample, min(_GROUPS, size, 1 + len(rows) // _GROUP_ROWS), 8, generator)
    group, error = _nearest(rows, coarse)
    order = group.argsort(stable=True)
    counts = torch.bincount(group, minlength=len(coarse))
    shares = _shares(torch.zeros(len(coarse)).index_add_(0, group, error), counts, size)
    centers, labels, first = [], torch.empty(len(rows), dtype=torch.long), 0
    for members, share in zip(order.split(counts.tolist()), shares.tolist(), strict=True):
        if len(members) == 0:
            continue
        own = rows[members] if share >= len(members) else _means(rows[members], share, 6, generator)
        labels[members] = first + (
            torch.arange(len(members)) if share >= len(members) else _nearest(rows[members], own)[0]
        )
        centers.append(own)
        first += len(own)
    return torch.cat(centers), labels


def _shares(error: Float[Tensor, "G"], counts: Int[Tensor, "G"], size: int) -> Int[Tensor, "G"]:
    """How many of `size` entries each group gets: 1 at least where it has rows, and no more than its rows."""
    shares = counts.clamp_max(1)
    for _ in range(8):
        room = counts - shares
        weight = torch.where(room > 0, error.double(), 0.0)
        left = size - int(shares.sum())
        if left <= 0 or float(weight.sum()) <= 0:
            break
        shares = shares + torch.minimum((weight / weight.sum() * left).long(), room)
    return shares


def _nearest(rows: Float[Tensor, "N D"], centers: Float[Tensor, "P D"]) -> tuple[Int[Tensor, "N"], Float[Tensor, "N"]]:
    """The nearest centre of each row, and the squared distance to it."""
    length = centers.square().sum(1)
    labels, errors = [], []
    for part in rows.split(_CHUNK):
        distance, label = (length - 2 * part @ centers.T).min(1)
        labels.append(label)
        errors.append((distance + part.square().sum(1)).clamp_min(0))
    return torch.cat(labels), torch.cat(errors)


def _means(rows: Float[Tensor, "N D"], count: int, rounds: int, generator: torch.Generator) -> Float[Tensor, "P D"]:
    centers = rows[torch.randperm(len(rows), generator=generator)[:count]]
    for _ in range(rounds):
        label, _ = _nearest(rows, centers)
        members = torch.bincount(label, minlength=len(centers))
        sums = torch.zeros_like(centers).index_add_(0, label, rows)
        centers = torch.where(members[:, None] > 0, sums / members.clamp_min(1)[:, None], centers)
    return centers
