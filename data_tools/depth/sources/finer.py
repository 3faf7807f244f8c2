"""Depth of the photos in use, measured in larger copies of them (`--depth.finer`).

Thin things are lost where they are narrower than a matching window; in larger copies they are wider.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from gs_reg.types import Views

from ..types import DepthMap, Progress
from .types import Depths, DepthSource


class Finer:
    """A source that measures in the photos that `load` gives, then takes the maps down to the photos in use.

    `size` says, for the printed line, how large those photos are.
    """

    def __init__(self, source: DepthSource, load: Callable[[], Sequence[Views]], size: str):
        self._source, self._load = source, load
        self.about: Mapping[str, str] = {**source.about, "size": size}

    def __call__(self, views: Sequence[Views], progress: Progress | None = None) -> Depths:
        found = self._source(self._load(), progress)
        maps = tuple(reduced(m, v.cameras.height, v.cameras.width) for m, v in zip(found.maps, views, strict=True))
        return Depths(maps, found.details)


def reduced(large: DepthMap, height: int, width: int) -> DepthMap:
    """The map at the size of a smaller copy: the nearest value to each pixel's centre, as means would mix surfaces."""

    def pick(values: Tensor) -> Tensor:
        rows, columns = (
            ((torch.arange(n) + 0.5) * (size / n)).long() for n, size in zip((height, width), values.shape, strict=True)
        )
        return values[rows][:, columns]

    return DepthMap(pick(large.depth), pick(large.sd), pick(large.confident), pick(large.views))
