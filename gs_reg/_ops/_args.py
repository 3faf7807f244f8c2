"""Filling the structs of the native interface from tensors."""

from __future__ import annotations

import ctypes
import struct
from contextlib import AbstractContextManager, nullcontext
from ctypes import c_double, c_int32, c_int64, c_uint32, c_void_p
from typing import overload

import torch
from torch import Tensor

from gs_reg import _library, _proof
from gs_reg._library import ALLOC, STATE_SLOTS
from gs_reg._ops._pages import empty

CODES = {
    c_uint32: "I",
    c_int32: "i",
    c_int64: "q",
    c_double: "d",
    c_void_p: "Q",
    c_void_p * STATE_SLOTS: f"{STATE_SLOTS}Q",
}
"""Of the struct module, for the types of fields."""


def point(args: ctypes.Structure, **tensors: Tensor | None) -> None:
    """Sets pointer fields by name. The caller keeps the tensors alive until the call is over."""
    for name, tensor in tensors.items():
        setattr(args, name, None if tensor is None else tensor.data_ptr())


def common(like: Tensor) -> dict[str, int]:
    """The fields that every struct has."""
    return {"is_double": like.dtype == torch.float64, "threads": torch.get_num_threads()}


def library_for(like: Tensor) -> ctypes.CDLL:
    """The library for this tensor's device."""
    return _library.library("cuda" if like.is_cuda else "cpu")


def takes_session(like: Tensor) -> bool:
    """Whether the library for this tensor's device works on a stream: what it leaves is not there at once."""
    return _library.has_sessions(library_for(like))


def is_native(*tensors: Tensor) -> bool:
    """Whether the kernels take these: all float32 or all float64, on the CPU, or on a GPU where they are proven."""
    dtype, device = tensors[0].dtype, tensors[0].device
    fitting = dtype in (torch.float32, torch.float64) and all(t.device == device and t.dtype == dtype for t in tensors)
    return fitting and (device.type == "cpu" or (device.type == "cuda" and _proof.doubt_here() is None))


class Fields:
    """Fields of a struct that follow one another, set in one go: what each call of a large operator does."""

    def __init__(self, kind: type[ctypes.Structure], names: str):
        types = {field[0]: field[1] for field in kind._fields_}
        wanted = names.split()
        first = list(types).index(wanted[0])
        if list(types)[first : first + len(wanted)] != wanted:
            raise ValueError(f"{kind.__name__}: {names} are not fields in this order")
        self.offset = end = getattr(kind, wanted[0]).offset
        layout = "="
        for name in wanted:
            field = getattr(kind, name)
            layout += f"{field.offset - end}x{CODES[types[name]]}"
            end = field.offset + field.size
        self.layout = struct.Struct(layout)

    def fill(self, args: ctypes.Structure, *values: float) -> None:
        """Sets all, in their order; pointers from `addresses`."""
        self.layout.pack_into(args, self.offset, *values)


def addresses(*tensors: Tensor | None) -> list[int]:
    """For pointer fields. The caller keeps the tensors alive until the call is over."""
    return [0 if tensor is None else tensor.data_ptr() for tensor in tensors]


@overload
def contiguous(*tensors: Tensor) -> list[Tensor]: ...
@overload
def contiguous(*tensors: Tensor | None) -> list[Tensor | None]: ...
def contiguous(*tensors):
    """Each as the native library takes it; None stays None."""
    return [None if t is None else t.contiguous() for t in tensors]


def incoming(given: Tensor | None, like: Tensor, *shape: int) -> Tensor | None:
    """A gradient from above, of a shape; where there is none, the CUDA library takes None and the CPU's zeros."""
    if given is None:
        return None if takes_session(like) else like.new_zeros(shape)
    return given.contiguous()


class Memory:
    """What a native call asks for while it runs, from torch's allocator; `address` is the context of ALLOCATE."""

    def __init__(self, like: Tensor):
        self.like = like
        self.address = id(self)
        self.blocks: dict[int, Tensor] = {}
        self.errors: list[Exception] = []


IN_CALLS: dict[int, Memory] = {}
"""By address, those of the calls that are running: a callback of their own each would cost more than the memory."""


@ALLOC
def ALLOCATE(context: int, slot: int, count: int) -> int | None:
    """gsr_alloc of all calls."""
    memory = IN_CALLS[context]
    try:
        block = memory.blocks[slot] = empty(memory.like, count, dtype=torch.uint8)
    except Exception as error:  # cannot pass through C: the call fails, and raises this instead
        memory.errors.append(error)
        return None
    return block.data_ptr()


def call(function: str, args: _library._Struct, like: Tensor, state: Memory | None = None) -> None:
    """Calls a native function for the device of `like`; on CUDA, on the current stream.

    Raises:
        ValueError: a number out of its bounds, by name.
        RuntimeError: with the library's own text, or torch's own error where memory ran out.
    """
    lib = library_for(like)
    memories = [state] if state is not None else []
    if not _library.has_sessions(lib):
        return _run(lib, function, args, memories)
    scratch = Memory(like)
    memories.append(scratch)
    with _on_device(like):
        stream = torch._C._cuda_getCurrentRawStream(like.get_device()) if like.is_cuda else None
        lib.gsr_cuda_begin(stream, torch.are_deterministic_algorithms_enabled(), ALLOCATE, scratch.address)
        _run(lib, function, args, memories)


NOTHING = nullcontext()


def _on_device(like: Tensor) -> AbstractContextManager:
    here = not like.is_cuda or torch._C._cuda_getDevice() == like.get_device()
    return NOTHING if here else torch.cuda.device(like.device)


def _run(lib: ctypes.CDLL, function: str, args: _library._Struct, memories: list[Memory]) -> None:
    for memory in memories:
        IN_CALLS[memory.address] = memory
    try:
        _library.checked(lib, function, args)
    except RuntimeError:
        for memory in memories:
            if memory.errors:
                raise memory.errors[0] from None
        raise
    finally:
        for memory in memories:
            del IN_CALLS[memory.address]
