"""What a setting may be, in words for people: `a whole number or None`."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any

ONE = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path"}
MANY = {int: "whole numbers", float: "numbers", bool: "words true or false", str: "texts", Path: "paths"}


def type_in_words(kind: Any, none: str = "None") -> str:
    """`none` is how None is written where the setting stands."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return type_in_words(args[0], none)
    if kind is type(None):
        return none
    if origin is typing.Literal:
        return str(args[0]) if len(args) == 1 else f"one of {', '.join(map(str, args))}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_in_words(option, none) for option in args)
    if origin is tuple:
        count = "" if args[-1] is ... else f"{len(args)} "
        return count + MANY.get(args[0], "values")
    return ONE.get(kind, getattr(kind, "__name__", str(kind)))
