"""Config dataclasses as plain YAML (scalars, lists and maps only), and back.

What comes later wins: defaults, preset, file of --config, command line.
"""

from __future__ import annotations

import dataclasses
import reprlib
import types
import typing
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from gs_reg.errors import InputError, did_you_mean, reading

from .bounds import check_value
from .flag_names import nested
from .overridden import check_file
from .type_words import type_in_words

SCHEMA = 1
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
T = TypeVar("T")


def to_plain(value: object) -> Any:
    """A dataclass as nested maps of scalars and lists, as YAML and JSON hold them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [to_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def from_plain(kind: Any, value: object, where: str, base: Any = None) -> Any:
    """The inverse of to_plain for a type as annotations have it; absent keys of a map are taken from `base`.

    Raises:
        InputError: an unknown key or a value of another type; the message begins with `where`.
    """
    if dataclasses.is_dataclass(kind):
        return _from_map(kind, value, where, base)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _from_union(kind, value, where)
    if origin is typing.Literal:
        if value not in args:
            raise _unlike(kind, value, where)
        return value
    if origin is tuple and isinstance(value, list):
        inner = [args[0]] * len(value) if len(args) == 2 and args[1] is ... else args
        if len(inner) != len(value):
            raise InputError(f"{where}: expected {len(inner)} values, got {len(value)}")
        return tuple(from_plain(k, v, where) for k, v in zip(inner, value, strict=True))
    if origin is typing.Annotated:
        return from_plain(args[0], value, where)
    return _scalar(kind, value, where)


def _from_map(kind: Any, value: object, where: str, base: Any) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected a map, got {_SHORT.repr(value)}")
    hints = typing.get_type_hints(kind)
    known = _field_names(kind)
    for key in value.keys() - known:
        raise InputError(f"{where}: unknown key {key!r:.80}{did_you_mean(key, known)}")
    given = {k: from_plain(hints[k], v, f"{where}.{k}", getattr(base, k, None)) for k, v in value.items()}
    for key, inner in given.items():
        check_value(key, inner, f"{where}.{key}", _default(kind, key))
    try:
        return kind(**_left_to_flags(kind, value), **given) if base is None else dataclasses.replace(base, **given)
    except ValueError as error:  # its own check, which begins with the name of a field
        raise InputError(f"{where}.{error}") from None


def _field_names(kind: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def _default(kind: Any, name: str) -> Any:
    return next(field.default for field in dataclasses.fields(kind) if field.name == name)


def _left_to_flags(kind: Any, given: Mapping[str, object]) -> dict[str, Any]:
    """tyro's mark for fields that have neither a default nor a value in the file: the command line must give them."""
    import tyro

    missing = dataclasses.MISSING
    fields = [f for f in dataclasses.fields(kind) if f.default is missing and f.default_factory is missing]
    return {f.name: tyro.MISSING for f in fields if f.name not in given}


def _from_union(kind: Any, value: object, where: str) -> Any:
    for option in typing.get_args(kind):
        try:
            return from_plain(option, value, where)
        except InputError:
            continue
    raise _unlike(kind, value, where)


def _unlike(kind: Any, value: object, where: str) -> InputError:
    return InputError(f"{where}: expected {type_in_words(kind, none='null')}, got {_SHORT.repr(value)}")


def _scalar(kind: Any, value: object, where: str) -> Any:
    if kind is type(None) and value is None:
        return None
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise _unlike(kind, value, where)


def dump_yaml(config: object) -> str:
    """A config dataclass, or a map of its plain values, as YAML text that begins with the schema number."""
    import yaml

    plain = config if isinstance(config, dict) else to_plain(config)
    return yaml.safe_dump({"schema": SCHEMA, **plain}, sort_keys=False)


def load_yaml(path: Path, kind: type[T]) -> T:
    """A config from a YAML file; absent keys have their defaults.

    Raises:
        InputError: the file is missing, no YAML, of another schema, or has an unknown key or a wrong value.
    """
    with reading(path):
        return from_plain(kind, read_yaml(path), str(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """The map in a YAML file, without its schema number.

    Raises:
        InputError: the file is missing, no YAML, or of another schema.
    """
    import yaml

    if not path.is_file():
        raise InputError(f"{path}: no such config file")
    with reading(path):
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise InputError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(data, dict) or data.pop("schema", SCHEMA) != SCHEMA:
        raise InputError(f"{path}: expected a map with schema: {SCHEMA}")
    return data


def read_over_preset(config: type[T], data: dict[str, Any], where: str) -> T:
    """A config from plain values, which may have the names of their flags; absent keys are taken from the preset.

    This is the one that the key `preset` names, else the usual one.

    Raises:
        InputError: an unknown preset or key, or a value of another type; the message begins with `where`.
    """
    presets = getattr(config, "of_preset", None)
    with reading(where):
        data = nested(config, data, where)
        try:
            base = presets(data.get("preset", _default(config, "preset"))) if presets else None
        except InputError as error:  # its name begins the text
            raise InputError(f"{where}{error}" if where == "--" else f"{where}.{error}") from None
        made = from_plain(config, data, where, base)
        check_file(made, data, base, where)
        return made


def default_from(config: type[T], argv: list[str]) -> T | None:
    """Values of the flags that are not given: those of the preset, replaced by those in the file of --config.

    --preset wins over the `preset` of the file. None, for the defaults of the dataclass, where neither is given.
    """
    file = _value_of("--config", argv) if "config" in _field_names(config) else None
    named = _value_of("--preset", argv) if hasattr(config, "of_preset") else None
    data = (read_yaml(Path(file)) if file is not None else {}) | ({"preset": named} if named else {})
    return read_over_preset(config, data, file or "--") if data else None


def _value_of(flag: str, argv: list[str]) -> str | None:
    """What follows the flag, as `--flag value` or `--flag=value`."""
    for word, following in pairwise([*argv, ""]):
        name, _, inline = word.partition("=")
        if name == flag:
            return inline or following
    return None
