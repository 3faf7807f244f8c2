"""Continuing a run: with the settings that it began with, on the photos that it began with, or not at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from gs_reg.errors import InputError

from .config_file import to_plain
from .folder import Run, open_run, runs_of


@runtime_checkable
class Resumable(Protocol):
    """The flags by which every command with --resume finds its run."""

    @property
    def data(self) -> str: ...
    @property
    def out(self) -> Path | None: ...
    @property
    def name(self) -> str | None: ...
    @property
    def config(self) -> Path | None: ...
    @property
    def resume(self) -> bool: ...


T = TypeVar("T", bound=Resumable)

NOT_OF_THE_RESULT = (
    "data",
    "out",
    "name",
    "config",
    "resume",
    "device",
    "stop_after",
    "checkpoint_every",
    "keep_every",
)
NOT_OF_THE_RESULT += ("dry_run", "json")
"""Settings that leave the result as it is; the photos behind `data` are compared by their content."""


def stored_config(asked: T) -> T:
    """What the run that --resume means was told, so that no flag has to be repeated.

    Raises:
        InputError: no such run, or --config beside --resume.
    """
    if asked.config:
        raise InputError("--config with --resume: a run goes on with its own config.yaml; drop one of the two")
    if not asked.out and not asked.name and not asked.data:
        raise InputError("--resume: which run? name its folder with --out, or give the photos that it is of")
    run = open_run(asked.out or runs_of(asked.name, asked.data))
    stored: Any = run.config(type(asked))  # a dataclass, which a Protocol cannot ask for
    return dataclasses.replace(stored, out=run.path, resume=True)


def check_same(run: Run, config: Resumable, photos: list[dict[str, Any]]) -> None:
    """Refuses to continue with settings or training photos that would give another result.

    Raises:
        InputError: names the setting with both values, or the photo.
    """
    before, now = (dict(_flat(to_plain(c))) for c in (run.config(type(config)), config))
    changed = [name for name in now if name.split(".")[0] not in NOT_OF_THE_RESULT and now[name] != before[name]]
    if changed:
        values = ", ".join(f"{name} (was {before[name]}, now {now[name]})" for name in changed)
        raise InputError(f"{run.path / 'config.yaml'}: --resume keeps the settings of the run: drop {values}")
    known = {photo["name"]: photo for photo in run.read_json("dataset.json")["photos"] if photo["use"] == "train"}
    for photo in photos:
        if photo["use"] == "train" and _digest(photo) != _digest(known.get(photo["name"], {})):
            raise InputError(f"{photo['file']}: not the photo or camera that {run.path} began with; start a new run")


def _digest(photo: dict[str, Any]) -> tuple:
    return tuple(photo.get(key) for key in ("name", "size", "K", "sha256"))


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of nested maps."""
    if not isinstance(value, dict):
        yield place, value
        return
    for key, inner in value.items():
        yield from _flat(inner, f"{place}.{key}" if place else key)
