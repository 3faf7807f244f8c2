"""Filling the structs of the native interface from tensors."""

from __future__ import annotations

import ctypes
from contextlib import nullcontext

import torch
from torch import Tensor

from gs_reg import _library
from gs_reg._library import ALLOC

DEVICES = ("cpu", "cuda")
"""Where both libraries have the operator."""


def point(args: ctypes.Structure, **tensors: Tensor | None) -> None:
    """Sets pointer fields by name. The caller keeps the tensors alive until the call is over."""
    for name, tensor in tensors.items():
        setattr(args, name, None if tensor is None else tensor.data_ptr())


def common(like: Tensor) -> dict[str, int]:
    """The fields that every struct has."""
    return {"is_double": like.dtype == torch.float64, "threads": torch.get_num_threads()}


def is_native(*tensors: Tensor) -> bool:
    """Whether the kernels take these: on the CPU, all float32 or all float64."""
    dtype = tensors[0].dtype
    return dtype in (torch.float32, torch.float64) and all(t.device.type == "cpu" and t.dtype == dtype for t in tensors)


class Memory:
    """What a native call asks for while it runs, from torch's allocator."""

    def __init__(self, device: torch.device):
        self.device = device
        self.blocks: dict[int, Tensor] = {}
        self.error: Exception | None = None
        self.callback = ALLOC(self._allocate)

    def _allocate(self, _context: int, slot: int, count: int) -> int | None:
        try:
            self.blocks[slot] = torch.empty(count, dtype=torch.uint8, device=self.device)
        except Exception as error:  # cannot pass through C: the call fails, and raises this instead
            self.error = error
            return None
        return self.blocks[slot].data_ptr()


def call(function: str, args: _library._Struct, like: Tensor, state: Memory | None = None) -> None:
    """Calls a native function for the device of `like`; on CUDA, on the current stream.

    Raises:
        RuntimeError: with the library's own text, or torch's own error where memory ran out.
    """
    device = like.device
    lib = _library.library(device.type)
    if not _library.has_sessions(lib):
        return _raising(lib, function, args, state)
    on_gpu = device.type == "cuda"
    scratch = Memory(device)
    with torch.cuda.device(device) if on_gpu else nullcontext():
        stream = torch.cuda.current_stream(device).cuda_stream if on_gpu else None
        lib.gsr_cuda_begin(stream, torch.are_deterministic_algorithms_enabled(), scratch.callback, None)
        _raising(lib, function, args, state, scratch)


def _raising(lib: ctypes.CDLL, function: str, args: _library._Struct, *memories: Memory | None) -> None:
    try:
        _library.checked(lib, function, args)
    except RuntimeError:
        for memory in memories:
            if memory is not None and memory.error is not None:
                raise memory.error from None
        raise
