"""Settings that another one takes the place of: given together, one of the two would be dropped in silence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import reduce
from typing import Any

from gs_reg.errors import InputError

from .flag_names import fields_of, flag_of

OVERRIDDEN: dict[str, tuple[Any, tuple[str, ...], str]] = {
    "steps": (None, ("train.steps", "free.train.steps"), "shares its steps out to every stage"),
    "backend": (None, ("train.render.backend", "free.train.render.backend"), "sets that of every stage"),
    "read.downscale": ("auto", ("read.long_side",), "sets the size"),
    "read.test": ((), ("read.test_every",), "names the photos to hold out"),
    "out": (None, ("name",), "names the folder"),
}
"""Of a setting: its value as long as it is not in use, the settings that it takes the place of, and how."""


def check_typed(config: Any, argv: Iterable[str]) -> None:
    """Checks the flags of a command line, which made the config.

    Raises:
        InputError: names both flags.
    """
    kind = type(config)
    flags = (word.partition("=")[0] for word in argv if word.startswith("--"))
    typed = {".".join(fields_of(kind, flag)) for flag in flags}
    _check(config, typed, lambda name: flag_of(kind, name.split(".")))


def check_file(config: Any, data: Mapping[str, Any], base: Any, where: str) -> None:
    """Checks the nested settings of a file, which made the config over `base`: those that `base` has too do not count.

    Raises:
        InputError: names both settings; the text begins with `where`.
    """
    _check(config, set(_changed(data, base)), lambda name: f"{where}.{name}")


def _check(config: Any, given: Collection[str], named: Callable[[str], str]) -> None:
    for name, (unset, others, how) in OVERRIDDEN.items():
        if name in given and reduce(getattr, name.split("."), config) != unset:
            for other in others:
                if other in given:
                    raise InputError(f"{named(other)}: no effect: {named(name)} {how}; leave one of the two out")


def _changed(data: Mapping[str, Any], base: Any, place: str = "") -> Iterator[str]:
    """Dotted names of what differs from the base."""
    for key, value in data.items():
        usual = getattr(base, key, None)
        if isinstance(value, Mapping):
            yield from _changed(value, usual, f"{place}{key}.")
        elif value != (list(usual) if isinstance(usual, tuple) else usual):
            yield f"{place}{key}"
