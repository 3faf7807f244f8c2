"""Training photos that overlap, where those at even distances in the order of their names share too little."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from gs_reg.geometry import project

from .photos.frames import Frame

LEAST_POINTS = 8
LEAST_SHARE = 0.02
"""Photos overlap that share so many points, and at least this share of what the one that sees fewer sees."""
SHARES = (0.3, 0.15, 0.07, LEAST_SHARE)
"""Overlap that is asked of photos instead, the first that gives enough of them."""
MOST_POINTS = 20_000
TURN = np.cos(np.deg2rad(45))
"""Points seen from directions further apart than this look another."""
NEARER = 2.5
"""So many times as far away, a photo no longer shows the same of a point."""

Shares = Float[ndarray, "F F"]


def overlapping(
    even: Sequence[str], pool: Sequence[str], shares: Callable[[Sequence[str]], Shares | None]
) -> tuple[tuple[str, ...], str]:
    """The photos to take, in the order of the pool, and a note; those at even distances and "" where they overlap.

    Else a chain of photos, each of which overlaps with one before, as far from them as that allows. `shares` gives, for
    every pair of photos, the points that both see as a share of what the one that sees fewer sees; None = not known.
    """
    matrix = shares(pool)
    if matrix is None:
        return tuple(even), ""
    at = [pool.index(name) for name in even]
    if _connected(matrix[np.ix_(at, at)] >= LEAST_SHARE):
        return tuple(even), ""
    best: list[int] = []
    for least in SHARES:
        chains = [_chain(matrix, start, len(even), least) for start in range(len(pool))]
        longest = max(len(chain) for chain in chains)
        if longest > len(best):  # of those, the one that is spread most
            best = min((c for c in chains if len(c) == longest), key=lambda c: matrix[np.ix_(c, c)].sum())
        if len(best) == len(even):
            break
    if len(best) < 2:
        return tuple(even), ""
    names = tuple(pool[i] for i in sorted(best))
    fewer = "" if len(names) == len(even) else f", as no {len(even)} photos do"
    return names, (
        f"views: {', '.join(even)} at even distances do not all see what another sees; "
        f"took {len(names)} that overlap{fewer}: {', '.join(names)}"
    )


def _connected(near: Bool[ndarray, "F F"]) -> bool:
    reached = np.zeros(len(near), dtype=bool)
    reached[:1] = True
    for _ in range(len(near)):
        reached |= near[reached].any(0)
    return bool(reached.all())


def _chain(shares: Shares, start: int, count: int, least: float) -> list[int]:
    """Photos from `start` on, each overlapping at least so much with one before, and as little as that allows."""
    chain = [start]
    while len(chain) < count:
        most = shares[chain].max(0)
        most[chain] = 0
        allowed = np.flatnonzero(most >= least)
        if not len(allowed):
            break
        chain.append(int(allowed[np.argmin(most[allowed])]))
    return chain


def shares_of(
    names: Sequence[str],
    frames: Sequence[Frame],
    tracks: Callable[[], Mapping[str, Int[ndarray, "_"]]] | None,
    points: Float[Tensor, "P 3"] | None,
) -> Shares | None:
    """Shares of the named photos, from tracks where there are any, else from points; None = neither."""
    by_name = {frame.name: frame for frame in frames}
    seen = tracks() if tracks is not None else {}
    if seen:
        return shares_of_tracks(seen, [by_name[name].whole_name for name in names])
    if points is None or not len(points):
        return None
    return shares_of_points(points.numpy(), [by_name[name] for name in names])


def shares_of_tracks(tracks: Mapping[str, Int[ndarray, "_"]], names: Sequence[str]) -> Shares:
    """From the points that each photo sees, by their numbers."""
    from scipy import sparse

    ids = [np.unique(tracks[name]) for name in names]
    known, columns = np.unique(np.concatenate(ids), return_inverse=True)
    rows = np.repeat(np.arange(len(ids)), [len(i) for i in ids])
    seen = sparse.csr_matrix((np.ones(len(rows), dtype=np.int32), (rows, columns)), (len(ids), max(len(known), 1)))
    return _as_shares((seen @ seen.T).toarray().astype(np.float64), np.array([len(i) for i in ids], dtype=np.float64))


def shares_of_points(points: Float[ndarray, "P 3"], frames: Sequence[Frame]) -> Shares:
    """From the points that lie in a photo's picture; two share a point that they see from one side, equally far away.

    What hides a point is unknown.
    """
    points = points[:: -(-len(points) // MOST_POINTS)]
    at = torch.from_numpy(points).double()
    seen, towards, far = [], [], []
    for frame in frames:
        camera = frame.camera.to(dtype=torch.float64)
        xy, z = (x[0].numpy() for x in project(camera, at))
        inside = (xy >= 0).all(1) & (xy < (camera.width, camera.height)).all(1)
        seen.append(inside & (z > 0))
        away = points - camera.centers[0].numpy()
        far.append(np.linalg.norm(away, axis=1))
        towards.append(away / np.maximum(far[-1], 1e-300)[:, None])
    shared = np.zeros((len(frames), len(frames)))
    for i in range(len(frames)):
        for j in range(i):
            both = np.flatnonzero(seen[i] & seen[j])
            alike = (towards[i][both] * towards[j][both]).sum(1) > TURN
            ratio = far[i][both] / np.maximum(far[j][both], 1e-300)
            shared[i, j] = shared[j, i] = (alike & (ratio < NEARER) & (ratio > 1 / NEARER)).sum()
    return _as_shares(shared, np.array([s.sum() for s in seen], dtype=np.float64))


def _as_shares(shared: Float[ndarray, "F F"], counts: Float[ndarray, "F"]) -> Shares:
    """0 where fewer than LEAST_POINTS are shared, and of a photo with itself."""
    shares = np.where(shared >= LEAST_POINTS, shared / np.maximum(np.minimum.outer(counts, counts), 1), 0.0)
    np.fill_diagonal(shares, 0)
    return shares
