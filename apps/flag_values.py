"""How tyro reads the words behind flags, and what it refuses, as one line that names the flag as it is typed."""

from __future__ import annotations

import re
import types
import typing
from typing import TYPE_CHECKING, Any

from .runs.flag_names import fields_of, flag_of, type_of
from .runs.type_words import type_in_words

if TYPE_CHECKING:
    from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

    from gs_reg.errors import InputError


def registry() -> ConstructorRegistry:
    """Rules for choices: what --help lists is what is accepted; None is no word for a choice that may be left out."""
    from tyro.constructors import ConstructorRegistry

    rules = ConstructorRegistry()
    rules.primitive_rule(_choice)
    return rules


def _choice(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    from tyro.constructors import PrimitiveConstructorSpec

    names = choices_of(info.type)
    if not names:
        return None

    def read(words: list[str]) -> str:
        if words[0] not in names:
            raise ValueError(f"{words[0]!r} is none of {', '.join(names)}")
        return words[0]

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{{{','.join(names)}}}",
        instance_from_str=read,
        is_instance=lambda value: value is None or value in names,
        str_from_instance=lambda value: [str(value)],
    )


def choices_of(kind: Any) -> tuple[str, ...]:
    """The texts of a Literal, or of one that may be None; empty for other types."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(kind) if option is not type(None)]
        kind = options[0] if len(options) == 1 else None
    names = typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()
    return names if all(isinstance(name, str) for name in names) else ()


def refusal(end: SystemExit, kind: Any, argv: list[str]) -> InputError | None:
    """What made tyro end the program, if it is the value of a flag or a config's own check.

    tyro's InstantiationError says in `arg` whose value it could not make: a flag's, or the fields down to a config.
    """
    from gs_reg.errors import InputError

    error: BaseException | None = end
    while error is not None:
        place = getattr(error, "arg", None)
        if isinstance(place, str):
            return InputError(named_by_flag(str(getattr(error, "message", error)), kind, place.split(".")))
        if flags := getattr(getattr(place, "lowered", None), "name_or_flags", ()):
            return InputError(_wrong_value(flags[0], kind, argv))
        if isinstance(error, InputError):
            return InputError(named_by_flag(str(error), kind, []))
        error = error.__context__
    return None


def named_by_flag(text: str, kind: Any, fields: list[str]) -> str:
    """The complaint of a config that is so many fields down, with its flag instead of the name of its field."""
    name, colon, rest = text.partition(":")
    places = [place for place in (fields, *_omitted(kind)) if type_of(kind, [*place, name]) is not None]
    if not colon or not re.fullmatch(r"\w+", name) or not places:
        return text
    return f"{flag_of(kind, [*places[0], name])}:{rest}"


def _omitted(kind: Any) -> list[list[str]]:
    """Configs whose flags do without their name: tyro does not say which of them refused."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return [[name] for name in hints if flag_of(kind, [name, "x"]) == "--x"]


def _wrong_value(flag: str, kind: Any, argv: list[str]) -> str:
    wanted = type_of(kind, fields_of(kind, flag))
    wanted = typing.Literal[choices_of(wanted)] if choices_of(wanted) else wanted
    return f"{flag}: expected {type_in_words(wanted)}, got {' '.join(words_behind(flag, argv)) or 'nothing'}"


def words_behind(flag: str, argv: list[str]) -> list[str]:
    """The words of argv that are the value of a flag, as `--flag value` or `--flag=value`."""
    for number, word in enumerate(argv):
        name, equals, inline = word.partition("=")
        if name.replace("_", "-") == flag:
            behind = [inline] if equals else []
            for following in argv[number + 1 :]:
                if following.startswith("--"):
                    break
                behind.append(following)
            return behind
    return []
