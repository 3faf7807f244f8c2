"""Configs as plain YAML, and back: only scalars, lists and maps; an unknown key is an error with the nearest known.

Order of strength: defaults < preset < file (--config) < command line.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from gs_reg.errors import InputError

SCHEMA = 1
T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """A dataclass as nested maps of scalars and lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [to_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def from_plain(kind: Any, value: Any, where: str, base: Any = None) -> Any:
    """The inverse of to_plain for a declared type; keys that are absent stay as they are in `base`, if it is given.

    Raises:
        InputError: an unknown key or a value of another type, with its place.
    """
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise InputError(f"{where}: expected a map, got {value!r}")
        hints = typing.get_type_hints(kind)
        known = {f.name for f in dataclasses.fields(kind)}
        for key in value.keys() - known:
            close = difflib.get_close_matches(key, known, n=1)
            raise InputError(f"{where}: unknown key {key!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
        given = {k: from_plain(hints[k], v, f"{where}.{k}", getattr(base, k, None)) for k, v in value.items()}
        return kind(**_required(kind, value), **given) if base is None else dataclasses.replace(base, **given)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _from_union(args, value, where)
    if origin is typing.Literal:
        if value not in args:
            raise InputError(f"{where}: expected one of {', '.join(map(str, args))}, got {value!r}")
        return value
    if origin is tuple and isinstance(value, list):
        inner = [args[0]] * len(value) if len(args) == 2 and args[1] is ... else args
        return tuple(from_plain(k, v, where) for k, v in zip(inner, value, strict=True))
    if origin is typing.Annotated:
        return from_plain(args[0], value, where)
    return _scalar(kind, value, where)


def _required(kind: Any, given: dict) -> dict:
    """Fields without a default that the file leaves to the command line."""
    import tyro

    missing = dataclasses.MISSING
    fields = [f for f in dataclasses.fields(kind) if f.default is missing and f.default_factory is missing]
    return {f.name: tyro.MISSING for f in fields if f.name not in given}


def _from_union(options: tuple, value: Any, where: str) -> Any:
    for option in options:
        try:
            return from_plain(option, value, where)
        except InputError:
            continue
    raise InputError(f"{where}: {value!r} fits none of {', '.join(getattr(o, '__name__', str(o)) for o in options)}")


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is type(None) and value is None:
        return None
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise InputError(f"{where}: expected {getattr(kind, '__name__', kind)}, got {value!r}")


def dump_yaml(config: Any) -> str:
    """The config, or plain values that stand for one, as YAML text, schema number first."""
    import yaml

    plain = config if isinstance(config, dict) else to_plain(config)
    return yaml.safe_dump({"schema": SCHEMA, **plain}, sort_keys=False)


def load_yaml(path: Path, kind: type[T]) -> T:
    """A config from a file that dump_yaml wrote or a person did; keys that are absent keep their defaults.

    Raises:
        InputError: the file is missing, no YAML, of another schema, or has an unknown key.
    """
    return from_plain(kind, read_yaml(path), str(path))


def read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    if not path.is_file():
        raise InputError(f"{path}: no such config file")
    try:
        data = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(data, dict) or data.pop("schema", SCHEMA) != SCHEMA:
        raise InputError(f"{path}: expected a map with schema: {SCHEMA}")
    return data


def read_over_preset(config: type[T], data: dict[str, Any], where: str) -> T:
    """A config from plain values; absent keys are those of the `preset` that the values name, if the config has any.

    Raises:
        InputError: an unknown preset or key, or a value of another type, with its place.
    """
    presets = getattr(config, "of_preset", None)
    base = presets(data["preset"]) if presets and "preset" in data else None
    return from_plain(config, data, where, base)


def default_from(config: type, argv: list[str]) -> Any:
    """The defaults for the command line: the preset, and over it what the file of --config says; else nothing.

    --preset wins over the `preset` of the file.
    """
    import tyro

    file = _value_of("--config", argv) if "config" in {f.name for f in dataclasses.fields(config)} else None
    named = _value_of("--preset", argv) if hasattr(config, "of_preset") else None
    data = (read_yaml(Path(file)) if file is not None else {}) | ({"preset": named} if named else {})
    return read_over_preset(config, data, file or "--preset") if data else tyro.MISSING_NONPROP


def _value_of(flag: str, argv: list[str]) -> str | None:
    for word, following in pairwise([*argv, ""]):
        name, _, inline = word.partition("=")
        if name == flag:
            return inline or following
    return None
