"""Filling the structs of the native interface from tensors."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor


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
