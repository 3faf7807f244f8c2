"""What all frozen dataclasses of tensors share: they are moved, detached and joined field by field."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

R = TypeVar("R", bound="Record")


def _moved(value: Any, device: torch.device | str | None, dtype: torch.dtype | None) -> Any:
    if isinstance(value, Tensor):
        return value.to(device=device, dtype=dtype if value.is_floating_point() else None)
    if isinstance(value, Mapping):
        return {k: _moved(v, device, dtype) for k, v in value.items()}
    if isinstance(value, Record):
        return value.to(device, dtype)
    return value


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, Mapping):
        return {k: _detached(v) for k, v in value.items()}
    return value.detach() if isinstance(value, Record) else value


class Record:
    """What every frozen dataclass of tensors can do, field by field: a new field is never forgotten."""

    def to(self: R, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> R:
        return type(self)(**{name: _moved(value, device, dtype) for name, value in self.fields().items()})

    def detach(self: R) -> R:
        """The same values without gradient history."""
        return type(self)(**{name: _detached(value) for name, value in self.fields().items()})

    def fields(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]


def concatenated(values: Sequence[Any], where: str, dim: int = 0) -> Any:
    """Tensors one after the other, mappings of them key by key; None where all are None."""
    first = values[0]
    if all(value is None for value in values):
        return None
    if all(isinstance(value, Mapping) for value in values):
        if any(value.keys() != first.keys() for value in values):
            raise ValueError(f"{where}: expected the same names in every part, got {[sorted(v) for v in values]}")
        return {key: concatenated([value[key] for value in values], f"{where}[{key!r}]") for key in first}
    if not all(isinstance(value, Tensor) for value in values):
        raise ValueError(f"{where}: some parts have it and some do not")
    return torch.cat(list(values), dim=dim)
