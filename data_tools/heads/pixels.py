"""Photos and masks of a capture, read when asked for and kept while a budget of memory lasts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Protocol, runtime_checkable

from jaxtyping import UInt8
from torch import Tensor

BUDGET = 4 << 30
"""Bytes of decoded pixels that are kept."""


@runtime_checkable
class Pixels(Protocol):
    """Pixels of a capture by frame and camera."""

    def photo(self, frame: int, camera: int) -> UInt8[Tensor, "H W 3"]: ...

    def mask(self, frame: int, camera: int) -> UInt8[Tensor, "H W"]: ...


class CachedPixels:
    """Pixels by functions that read a photo and a mask; the least recently used go first. Safe for threads."""

    def __init__(
        self, photo: Callable[[int, int], Tensor], mask: Callable[[int, int], Tensor], budget: int = BUDGET
    ) -> None:
        self._read = {"photo": photo, "mask": mask}
        self._budget, self._bytes, self._lock = budget, 0, Lock()
        self._kept: OrderedDict[tuple[str, int, int], Tensor] = OrderedDict()

    def photo(self, frame: int, camera: int) -> UInt8[Tensor, "H W 3"]:
        return self._get("photo", frame, camera)

    def mask(self, frame: int, camera: int) -> UInt8[Tensor, "H W"]:
        return self._get("mask", frame, camera)

    def _get(self, kind: str, frame: int, camera: int) -> Tensor:
        key = (kind, frame, camera)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        value = self._read[kind](frame, camera)
        with self._lock:
            if key not in self._kept and value.nbytes <= self._budget:
                self._kept[key] = value
                self._bytes += value.nbytes
            while self._bytes > self._budget:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return value
