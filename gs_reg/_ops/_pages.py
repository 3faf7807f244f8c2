"""Large CPU tensors in pages that are used again: each training step asks for the same ones, and a fresh page costs
more than the work done on it."""

from __future__ import annotations

import math
import mmap
import sys
import threading
from functools import lru_cache

import torch
from torch import Tensor
from torch._C._dynamo import guards
from torch.nn import Parameter

LEAST = 1 << 20
"""Bytes below which torch's own allocator, which keeps small memory, is the cheaper one."""
PLAIN = (Tensor, Parameter)
"""Types of tensors that are nothing but memory."""
FROM_CPU = guards._empty_strided_cpu  # pyright: ignore[reportAttributeAccessIssue]
FROM_CUDA = guards._empty_strided_cuda  # pyright: ignore[reportAttributeAccessIssue]
"""Memory of the current device as the code of torch.compile takes it: in half the time of torch.empty."""
PATIENCE = 512
"""Requests after which a block that served none of them goes back to the system."""


class Pages:
    """Blocks of memory; one is free when nothing but this list refers to it, so tensors need not be returned."""

    def __init__(self) -> None:
        self.blocks: list[mmap.mmap] = []
        self.served: list[int] = []
        self.requests = 0
        self.lock = threading.Lock()

    def take(self, size: int) -> Tensor:
        """[size] bytes, with whatever was there."""
        with self.lock:
            self.requests += 1
            fitting = [i for i in self._free() if size <= len(self.blocks[i]) <= 2 * size]
            at = min(fitting, key=lambda i: len(self.blocks[i])) if fitting else self._grow(size)
            self.served[at] = self.requests
            return torch.frombuffer(self.blocks[at], dtype=torch.uint8, count=size)

    def _free(self) -> list[int]:
        return [i for i in range(len(self.blocks)) if _references(self.blocks, i) <= UNUSED]

    def _grow(self, size: int) -> int:
        stale = [i for i in self._free() if self.served[i] < self.requests - PATIENCE]
        for i in reversed(stale):
            del self.blocks[i], self.served[i]
        block = mmap.mmap(-1, size + size // 8, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            block.madvise(mmap.MADV_HUGEPAGE, 0, size // mmap.PAGESIZE * mmap.PAGESIZE)  # not the spare room
        self.blocks.append(block)
        self.served.append(0)
        return len(self.blocks) - 1


def _references(blocks: list[mmap.mmap], i: int) -> int:
    return sys.getrefcount(blocks[i])


UNUSED = _references([mmap.mmap(-1, 1)], 0)
"""To a block that only a list holds."""

PAGES = Pages()


def empty(like: Tensor, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
    """As like.new_empty(shape), for results of operators; fakes, which hold no data, pass through."""
    if type(like) not in PLAIN:
        return like.new_empty(shape, dtype=dtype)
    dtype = dtype or like.dtype
    strides, count = _layout(shape)
    if like.is_cpu:
        size = count * dtype.itemsize
        return FROM_CPU(shape, strides, dtype) if size < LEAST else PAGES.take(size).view(dtype).view(shape)
    if like.is_cuda and like.get_device() == torch._C._cuda_getDevice():
        return FROM_CUDA(shape, strides, dtype)
    return like.new_empty(shape, dtype=dtype)


def empty_as(tensor: Tensor) -> Tensor:
    """As `empty` with the tensor's own shape."""
    return empty(tensor, *tensor.shape)


@lru_cache(maxsize=1024)
def _layout(shape: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Strides and number of elements."""
    strides = [math.prod(max(size, 1) for size in shape[i + 1 :]) for i in range(len(shape))]
    return tuple(strides), math.prod(shape)
