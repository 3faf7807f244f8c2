"""Resuming a run: only with the settings and the photos that it was started with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from gs_reg.errors import InputError, reading

from .config_file import to_plain
from .folder import Run, open_run


@runtime_checkable
class Resumable(Protocol):
    """The flags that a command with --resume has, by which its run is found."""

    @property
    def data(self) -> str: ...
    @property
    def out(self) -> Path | None: ...
    @property
    def name(self) -> str | None: ...
    @property
    def home(self) -> Path:
        """Parent folder of its runs without --out."""
        ...

    @property
    def config(self) -> Path | None: ...
    @property
    def resume(self) -> bool: ...


T = TypeVar("T", bound=Resumable)

IGNORED_ON_RESUME = (
    "data",
    "prior_folder",
    "lpips",
    "out",
    "name",
    "config",
    "resume",
    "device",
    "stop_after",
    "checkpoint_every",
    "checkpoint_minutes",
    "keep_every",
    "log",
    "eval_every",
    "dry_run",
    "json",
    "live",
)
"""Settings that may change on resume: the result does not depend on them. What lies in `data` and `prior_folder` is
compared by content; files of LPIPS by their shapes."""


def stored_config(flags: T) -> T:
    """The stored config of the run that `flags` name, so that --resume needs no other flags.

    Raises:
        InputError: there is no such run, or --config is given too.
    """
    if flags.config:
        raise InputError("--config with --resume: a run goes on with its own config.yaml; drop one of the two")
    if not flags.out and not flags.name and not flags.data:
        raise InputError("--resume: which run? name its folder with --out, or give the data that it is of")
    run = open_run(flags.out or flags.home)
    stored: Any = run.config(type(flags))  # a dataclass, which a Protocol cannot ask for
    return dataclasses.replace(stored, out=run.path, resume=True)


def check_settings(run: Run, config: Resumable) -> None:
    """Checks that settings are those that the run was started with.

    Raises:
        InputError: names the changed setting with both values.
    """
    stored, current = (dict(_flatten(to_plain(c))) for c in (run.config(type(config)), config))
    compared = [name for name in current if name.split(".")[0] not in IGNORED_ON_RESUME]
    changed = [name for name in compared if current[name] != stored[name]]
    if changed:
        values = ", ".join(f"{name} (was {stored[name]}, now {current[name]})" for name in changed)
        raise InputError(f"{run.path / 'config.yaml'}: --resume keeps the settings of the run: drop {values}")


def check_same(run: Run, config: Resumable, photos: list[dict[str, Any]]) -> None:
    """Checks that settings and training photos are those that the run was started with.

    Raises:
        InputError: as check_settings(), or names the photo.
    """
    check_settings(run, config)
    with reading(run.path / "dataset.json"):
        stored_photos = run.read_json("dataset.json")["photos"]
        before = {photo["name"]: photo for photo in stored_photos if photo["use"] == "train"}
    for photo in photos:
        if photo["use"] == "train" and _identity(photo) != _identity(before.get(photo["name"], {})):
            raise InputError(f"{photo['file']}: not the photo or camera that {run.path} began with; start a new run")


def _identity(photo: dict[str, Any]) -> tuple:
    """What must not change of a photo."""
    return tuple(photo.get(key) for key in ("name", "size", "K", "sha256"))


def _flatten(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of nested maps."""
    if not isinstance(value, dict):
        yield place, value
        return
    for key, inner in value.items():
        yield from _flatten(inner, f"{place}.{key}" if place else key)
