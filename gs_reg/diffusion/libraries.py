"""diffusers and transformers, imported on their first use: they take seconds, and are an extra of gs-reg."""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gs_reg.errors import InputError, MissingPart


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


class Heard(logging.Handler):
    """What the libraries would have said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())

    def refuse_missing(self, folder: Path) -> None:
        """Raises InputError where weights lack: the libraries fill them with random numbers, and only say so."""
        lacking = [name for said in self.said for name in _missing(said)]
        if lacking:
            raise InputError(
                f"{folder}: {len(lacking)} tensors are missing, such as {lacking[0]}: copy the whole folder"
            )


def _missing(said: str) -> list[str]:
    if "newly initialized" not in said:
        return []
    table = re.findall(r"^(\S+)\s*\|\s*MISSING\b", said, re.MULTILINE)  # as transformers says it
    listed = re.search(r"newly initialized: \[(.*?)\]", said)  # as diffusers does
    return table + re.findall(r"'([^']+)'", listed[1] if listed else "") or ["(unnamed)"]


@contextmanager
def quiet() -> Iterator[Heard]:
    """Without the libraries' progress bars and advice; what they say is in what this yields."""
    modules, heard = (diffusers(), transformers()), Heard()
    logs = [(module.utils.logging, logging.getLogger(module.__name__)) for module in modules]
    before = [(log.level, log.handlers, log.propagate, utils.is_progress_bar_enabled()) for utils, log in logs]
    for utils, log in logs:
        log.setLevel(logging.WARNING)
        log.handlers, log.propagate = [heard], False
        utils.disable_progress_bar()
    try:
        yield heard
    finally:
        for (utils, log), (level, handlers, propagate, bars) in zip(logs, before, strict=True):
            log.setLevel(level)
            log.handlers, log.propagate = handlers, propagate
            if bars:
                utils.enable_progress_bar()


@contextmanager
def offline() -> Iterator[None]:
    """huggingface_hub otherwise makes connections of its own, even where only local files are asked for."""
    constants = _module("huggingface_hub.constants")
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
