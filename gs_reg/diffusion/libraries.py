"""diffusers and transformers, imported on their first use: they take seconds, and are an extra of gs-reg."""

from __future__ import annotations

import importlib
from typing import Any

from gs_reg.errors import MissingPart


def diffusers() -> Any:
    """The module. Raises MissingPart with what to install."""
    return _module("diffusers")


def transformers() -> Any:
    """The module. Raises MissingPart with what to install."""
    return _module("transformers")


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPart(f"{name} is needed: pip install 'gs-reg[edit]' ({error})") from error
