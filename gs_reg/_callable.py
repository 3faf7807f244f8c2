"""A module that can be called, as PEP 713 proposed: `gs_reg.render` and `gs_reg.fit` are modules and functions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def make_callable(function: Callable[..., Any]) -> None:
    """Calling the module in which `function` is defined calls it.

    Without this, `gs_reg.render` would be a function or a module, depending on what has been imported before.
    """
    module = sys.modules[function.__module__]
    module.__class__ = type("module", (ModuleType,), {"__call__": staticmethod(function)})
