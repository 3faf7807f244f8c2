"""Stand-ins for torch while a help page is printed: importing it takes seconds, and help reads nothing of it.

Help needs the dataclasses of flags and their doc strings alone. Those stand beside the code that reads them, in modules
that import torch; so does Sphinx's `autodoc_mock_imports` read doc strings without the libraries.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

HEAVY = ("torch", "jaxtyping", "numpy")


class _Anything(type):
    """A class whose every attribute, item and call is again such a class: it can be subclassed, annotate, decorate."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _StandIn

    def __getitem__(cls, _key: Any) -> Any:
        return _StandIn

    def __call__(cls, *_args: Any, **_named: Any) -> Any:
        return _StandIn


class _StandIn(metaclass=_Anything):
    pass


class _Module(types.ModuleType):
    __path__: list[str] = []  # noqa: RUF012 - what marks a module as a package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _StandIn


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None):
        if fullname.partition(".")[0] in HEAVY:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


@contextmanager
def without_torch() -> Iterator[None]:
    """Imports inside get stand-ins; does nothing where torch is loaded already. The program must end afterwards."""
    if "torch" in sys.modules:
        yield
        return
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
