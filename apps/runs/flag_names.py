"""Settings in files under the names of their flags: `views`, `coherent.on`, `train.render.eps2d`, `no-dry-run`."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from gs_reg.errors import InputError


def nested(kind: type, data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The settings as nested maps with the names of the config's fields; what is nested already stays as it is.

    Raises:
        InputError: a setting is there twice; the message begins with `where`.
    """
    out: dict[str, Any] = {}
    for key, value in data.items():
        path, value = _fields(kind, str(key), value)
        inner = kind
        for part in path[:-1]:
            inner = _dataclass_of(inner, part) or inner
        if isinstance(value, dict) and (below := _dataclass_of(inner, path[-1])):
            value = nested(below, value, f"{where}.{'.'.join(path)}")
        for part in reversed(path):
            value = {part: value}
        _merge(out, value, where)
    return out


def flag_of(kind: Any, fields: Sequence[str]) -> str:
    """The flag of a setting as it is typed, from the fields down to it: --train.render.near, --long-side."""
    *places, last = fields
    words = []
    for name in places:
        words += [] if name in without_prefix(kind) else [name]
        kind = _dataclass_of(kind, name)
    return f"--{'.'.join([*words, last])}".replace("_", "-")


def fields_of(kind: type, flag: str) -> list[str]:
    """Fields from the config down to the setting that a flag, or a key of a file, names."""
    return _fields(kind, flag, True)[0]


def type_of(kind: Any, fields: Sequence[str]) -> Any:
    """The annotation of the setting that is so many fields down; None where there is none."""
    for name in fields:
        kind = typing.get_type_hints(kind).get(name) if dataclasses.is_dataclass(kind) else None
    return kind


def _fields(kind: type, key: str, value: Any) -> tuple[list[str], Any]:
    """Fields from the config down to the setting, and its value, turned round where the key is a `no-` flag."""
    parts = key.removeprefix("--").replace("-", "_").split(".")
    last = parts[-1].removeprefix("no_")
    if last != parts[-1] and isinstance(value, bool) and not _has(kind, parts) and _has(kind, [*parts[:-1], last]):
        parts, value = [*parts[:-1], last], not value
    if len(parts) == 1 and not (_has(kind, parts) and (isinstance(value, dict) or not _dataclass_of(kind, parts[0]))):
        for prefix in without_prefix(kind):
            inner = _dataclass_of(kind, prefix)
            if inner and _has(inner, parts):
                return [prefix, *parts], value
    return parts, value


def _merge(out: dict[str, Any], more: Mapping[str, Any], where: str) -> None:
    for key, value in more.items():
        if key in out and isinstance(out[key], dict) and isinstance(value, dict):
            _merge(out[key], value, f"{where}.{key}")
        elif key in out:
            raise InputError(f"{where}.{key}: given twice")
        else:
            out[key] = value


def _has(kind: type, parts: list[str]) -> bool:
    inner: type | None = kind
    for part in parts[:-1]:
        inner = _dataclass_of(inner, part) if inner else None
    return inner is not None and parts[-1] in {field.name for field in dataclasses.fields(inner)}


def _dataclass_of(kind: type, name: str) -> type | None:
    """The dataclass that a field holds; None for other fields."""
    hint = typing.get_type_hints(kind).get(name)
    return hint if dataclasses.is_dataclass(hint) else None  # pyright: ignore[reportReturnType]


def without_prefix(kind: type) -> list[str]:
    """Fields whose flags do without their name: --views is read.views."""
    import tyro

    hints = typing.get_type_hints(kind, include_extras=True)
    return [name for name, hint in hints.items() if tyro.conf.OmitArgPrefixes in typing.get_args(hint)[1:]]
