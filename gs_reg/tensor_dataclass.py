"""TensorDataclass, the base of frozen dataclasses of tensors: moved, detached and concatenated field by field."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

R = TypeVar("R", bound="TensorDataclass")


def _moved(value: Any, device: torch.device | str | None, dtype: torch.dtype | None) -> Any:
    if isinstance(value, Tensor):
        return value.to(device=device, dtype=dtype if value.is_floating_point() else None)
    if isinstance(value, Mapping):
        return {k: _moved(v, device, dtype) for k, v in value.items()}
    if isinstance(value, TensorDataclass):
        return value.to(device, dtype)
    return value


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, Mapping):
        return {k: _detached(v) for k, v in value.items()}
    return value.detach() if isinstance(value, TensorDataclass) else value


class TensorDataclass:
    """Base of frozen dataclasses of tensors; its methods go over all fields, so a new field needs no change here."""

    def to(self: R, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> R:
        """All tensors on another device; `dtype` applies to floating-point tensors only."""
        return type(self)(**{name: _moved(value, device, dtype) for name, value in self.fields().items()})

    def detach(self: R) -> R:
        """All tensors detached from the autograd graph."""
        return type(self)(**{name: _detached(value) for name, value in self.fields().items()})

    def fields(self) -> dict[str, Any]:
        """Values by name of field; unlike dataclasses.asdict, without copies."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]


def _other_sides(value: Tensor, dim: int) -> tuple[int, ...]:
    """Its shape without one side."""
    return (*value.shape[:dim], *value.shape[dim + 1 :])


def concatenate(values: Sequence[Any], where: str, dim: int = 0) -> Any:
    """torch.cat of tensors, or of mappings of tensors key by key; None where all values are None.

    Raises:
        ValueError: some values are None, or tensors or the keys of mappings do not fit; names `where`.
    """
    first = values[0]
    if all(value is None for value in values):
        return None
    if all(isinstance(value, Mapping) for value in values):
        if any(value.keys() != first.keys() for value in values):
            raise ValueError(f"{where}: expected the same names in every part, got {[sorted(v) for v in values]}")
        return {key: concatenate([value[key] for value in values], f"{where}[{key!r}]") for key in first}
    if not all(isinstance(value, Tensor) for value in values):
        raise ValueError(f"{where}: some parts have it and some do not")
    kinds = {(value.dtype, value.device, *_other_sides(value, dim)): value for value in values}
    if len(kinds) > 1:
        got = "; ".join(f"{list(value.shape)} {value.dtype} {value.device}" for value in kinds.values())
        raise ValueError(f"{where}: expected parts that differ in side {dim} at most, got {got}")
    return torch.cat(list(values), dim=dim)
