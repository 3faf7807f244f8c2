"""Quads split in four."""

from __future__ import annotations

from typing import Any

import numpy as np

Rows = Any
"""A matrix of scipy.sparse (csr), which is loaded where it is made."""


def unchanged(count: int) -> Rows:
    """Of vertices to themselves."""
    import scipy.sparse

    return scipy.sparse.csr_matrix(scipy.sparse.identity(count))


def split_quads(quads: np.ndarray, count: int) -> tuple[np.ndarray, Rows]:
    """Each quad in four by the middles of its edges and its own: the new quads, and rows of old vertices to new ones.

    The first `count` rows, and so the numbers of the old vertices, stay; edges that quads share are split once.
    """
    import scipy.sparse

    edges = np.sort(np.stack([quads, np.roll(quads, -1, axis=1)], axis=-1), axis=-1).reshape(-1, 2)
    unique, edge = np.unique(edges, axis=0, return_inverse=True)
    middles = count + edge.reshape(-1, 4)
    centers = count + len(unique) + np.arange(len(quads))
    corners = [np.stack([quads[:, i], middles[:, i], centers, middles[:, i - 1]], axis=1) for i in range(4)]
    rows = np.repeat(np.arange(len(unique) + len(quads)), [2] * len(unique) + [4] * len(quads))
    columns = np.concatenate([unique.ravel(), quads.ravel()])
    shares = np.repeat([0.5, 0.25], [2 * len(unique), 4 * len(quads)])
    added = scipy.sparse.csr_matrix((shares, (rows, columns)), shape=(len(unique) + len(quads), count))
    return np.concatenate(corners), scipy.sparse.vstack([unchanged(count), added], format="csr")
