"""Help pages that show a part of the flags: a copy of the config's class in which tyro is told to hide the others."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Set
from typing import Annotated, Any


def with_flags(config: Any, shown: Set[str]) -> Any:
    """A copy of a config, of a subclass of its class in which all fields but those `shown` are hidden.

    These are named by their way down from the config: `read.views`.
    """
    import tyro

    kind, fields, values = type(config), [], {}
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint, value = hints[field.name], getattr(config, field.name)
        inner = {name.partition(".")[2] for name in shown if name.startswith(f"{field.name}.")}
        if inner:
            value = with_flags(value, inner)
            marks = typing.get_args(hint)[1:] if typing.get_origin(hint) is Annotated else ()
            hint = Annotated[(type(value), *marks)] if marks else type(value)
        elif field.name not in shown:
            hint = tyro.conf.Suppress[hint]
        fields.append((field.name, hint, dataclasses.field(default=value)))
        values[field.name] = value
    short = dataclasses.make_dataclass(kind.__name__, fields, bases=(kind,), frozen=True)
    short.__doc__, short.__module__ = kind.__doc__, kind.__module__
    return short(**values)


def count_of(kind: Any) -> int:
    """Flags of a config."""
    hints = typing.get_type_hints(kind)
    inner = (hints[field.name] for field in dataclasses.fields(kind))
    return sum(count_of(hint) if dataclasses.is_dataclass(hint) else 1 for hint in inner)
