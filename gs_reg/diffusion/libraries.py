"""diffusers and transformers, imported on their first use: they take seconds, and are an extra of gs-reg."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' progress bars and advice."""
    logs = [module.utils.logging for module in (diffusers(), transformers())]
    levels = [log.get_verbosity() for log in logs]
    for log in logs:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.set_verbosity(level)
            log.enable_progress_bar()


@contextmanager
def offline() -> Iterator[None]:
    """huggingface_hub otherwise makes connections of its own, even where only local files are asked for."""
    constants = _module("huggingface_hub.constants")
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
