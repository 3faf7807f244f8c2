"""Errors that a user can act on. The command line prints them in one line, without a traceback."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """Bad input; the text names the file or value, what is wrong and what would be right. Exit code 2."""


class MissingPart(RuntimeError):
    """Missing weights or optional library; the text names the extra to install or the folder. Exit code 3."""


def in_words(error: BaseException) -> str:
    """The error in one line, for people: without its type where the text is ours, and with the file for OSErrors."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    known = isinstance(error, InputError | MissingPart | FloatingPointError | OSError)
    return str(error) if known else f"{type(error).__name__}: {error}"


def did_you_mean(name: object, known: Iterable[str], otherwise: str = "") -> str:
    """The end of a refusal of a name: "; did you mean 'x'?" with the known name most like it, else `otherwise`."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else otherwise


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turns whatever the content of a file can cause in the block into an InputError that begins with its name.

    For blocks that only read, parse and unpack: the libraries' parsers raise errors of many types.
    """
    try:
        yield
    except (InputError, MissingPart):
        raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except Exception as error:
        raise InputError(f"{path}: {_complaint(error)}") from error


@contextmanager
def refusals_named(path: str | Path) -> Iterator[None]:
    """InputErrors of the block's values, which do not know that they come from a file, begin with its name."""
    try:
        yield
    except InputError as error:
        if str(path) in str(error):
            raise
        raise InputError(f"{path}: {error}") from error


def _complaint(error: Exception) -> str:
    text = (str(error).strip().splitlines() or [""])[0][:200]
    if isinstance(error, UnicodeDecodeError):
        return "not a text in UTF-8"
    if isinstance(error, json.JSONDecodeError):
        return f"not valid JSON: {text}"
    if isinstance(error, KeyError):
        return f"{text} is missing"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return f"broken, or not what its name says ({type(error).__name__}: {text})"
