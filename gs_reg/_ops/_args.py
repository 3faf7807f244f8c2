"""Filling the structs of the native interface from tensors."""

from __future__ import annotations

import ctypes
from contextlib import nullcontext

import torch
from torch import Tensor

from gs_reg import _library, _proof
from gs_reg._library import ALLOC
from gs_reg._ops._pages import empty

DEVICES = ("cpu", "cuda")
"""Where both libraries have the operator."""


def point(args: ctypes.Structure, **tensors: Tensor | None) -> None:
    """Sets pointer fields by name. The caller keeps the tensors alive until the call is over."""
    for name, tensor in tensors.items():
        setattr(args, name, None if tensor is None else tensor.data_ptr())


def common(like: Tensor) -> dict[str, int]:
    """The fields that every struct has."""
    return {"is_double": like.dtype == torch.float64, "threads": torch.get_num_threads()}


def takes_session(like: Tensor) -> bool:
    """Whether the library for this tensor's device works on a stream: what it leaves is not there at once."""
    return _library.has_sessions(_library.library(like.device.type))


def offers(like: Tensor, function: str) -> bool:
    """Whether the library for this tensor's device has a function: some are on CUDA alone."""
    return hasattr(_library.library(like.device.type), function)


def is_native(*tensors: Tensor) -> bool:
    """Whether the kernels take these: all float32 or all float64, on the CPU, or on a GPU where they are proven."""
    dtype, device = tensors[0].dtype, tensors[0].device
    fitting = dtype in (torch.float32, torch.float64) and all(t.device == device and t.dtype == dtype for t in tensors)
    return fitting and (device.type == "cpu" or (device.type == "cuda" and _proof.doubt_here() is None))


class Memory:
    """What a native call asks for while it runs, from torch's allocator."""

    def __init__(self, device: torch.device):
        self.device = device
        self.blocks: dict[int, Tensor] = {}
        self.errors: list[Exception] = []
        self.callback = _allocator(device, self.blocks, self.errors)


def _allocator(device: torch.device, blocks: dict[int, Tensor], errors: list[Exception]):
    """Not a method: a cycle through the callback would keep the blocks alive until Python looks for cycles."""
    nothing = torch.empty(0, dtype=torch.uint8, device=device)

    def allocate(_context: int, slot: int, count: int) -> int | None:
        try:
            blocks[slot] = empty(nothing, count)
        except Exception as error:  # cannot pass through C: the call fails, and raises this instead
            errors.append(error)
            return None
        return blocks[slot].data_ptr()

    return ALLOC(allocate)


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
            if memory is not None and memory.errors:
                raise memory.errors[0] from None
        raise
