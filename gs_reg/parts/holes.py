"""Holes in pictures, filled smoothly from their borders."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

ALONE = 1e-9
"""Weight of 0 in every pixel: decides only where no value can be reached."""


def harmonic(
    values: Float[Tensor, "H W D"], known: Bool[Tensor, "H W"], wanted: Bool[Tensor, "H W"]
) -> Float[Tensor, "H W D"]:
    """The values with those of the wanted pixels from Laplace's equation; pixels that are neither are a closed wall.

    A wanted pixel from which no known one can be reached gets 0.
    """
    from scipy.sparse import coo_array, eye_array
    from scipy.sparse.linalg import splu

    free = (wanted & ~known).cpu().numpy()
    fixed = known.cpu().numpy()
    count = int(free.sum())
    if count == 0:
        return values
    given = values.double().cpu().numpy()
    index = np.full(free.shape, -1)
    index[free] = np.arange(count)
    rows, columns, degree = [], [], np.zeros(count)
    sums = np.zeros((count, given.shape[-1]))
    whole, ahead, behind = slice(None), slice(1, None), slice(None, -1)
    for here, there in (
        ((whole, behind), (whole, ahead)),
        ((whole, ahead), (whole, behind)),
        ((behind, whole), (ahead, whole)),
        ((ahead, whole), (behind, whole)),
    ):
        both, edge = free[here] & free[there], free[here] & fixed[there]
        rows.append(index[here][both])
        columns.append(index[there][both])
        np.add.at(degree, index[here][both | edge], 1)
        np.add.at(sums, index[here][edge], given[there][edge])
    row, column = np.concatenate(rows), np.concatenate(columns)
    neighbors = coo_array((np.ones(len(row)), (row, column)), shape=(count, count))
    diagonal = coo_array((degree, (np.arange(count), np.arange(count))), shape=(count, count))
    solved = splu((diagonal - neighbors + ALONE * eye_array(count)).tocsc()).solve(sums)
    out = values.clone()
    out[torch.from_numpy(free).to(values.device)] = torch.from_numpy(solved).to(values)
    return out
