"""Mock modules in place of torch while a help page is printed, as importing torch takes seconds.

A help page needs nothing but the dataclasses of the flags and their doc strings. These stand beside the code that uses
them, in modules that import torch. Sphinx does the same with `autodoc_mock_imports`.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

MOCKED = ("torch", "jaxtyping", "numpy", "scipy")


class _MockType(type):
    """Type of a class whose attributes, items and calls give that class again.

    So it can be a base class, an annotation or a decorator.
    """

    def __getattr__(cls, name: str) -> type[_Mock]:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Mock

    def __getitem__(cls, _key: object) -> type[_Mock]:
        return _Mock

    def __call__(cls, *_args: object, **_kwargs: object) -> type[_Mock]:
        return _Mock


class _Mock(metaclass=_MockType):
    pass


class _MockModule(types.ModuleType):
    __path__: list[str] = []  # noqa: RUF012 - what marks a module as a package

    def __getattr__(self, name: str) -> type[_Mock]:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Mock


class _MockFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] in MOCKED:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _MockModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


@contextmanager
def without_torch() -> Iterator[None]:
    """Imports inside the block get mocks, unless torch is loaded already. The process must end afterwards.

    Modules that were imported inside keep their mocks.
    """
    if "torch" in sys.modules:
        yield
        return
    finder = _MockFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
