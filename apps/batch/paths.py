"""Which settings of a job are paths; from where they are meant, and what they contain."""

from __future__ import annotations

import hashlib
import os
import re
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gs_reg.errors import InputError
from gs_reg.io.digest import file_sha256

from ..runs.flag_names import type_of
from .kinds import Kind, Settings
from .matrix import REFERENCE

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
"""Of Hugging Face."""
RUN_FILES = (".ply", ".npz", "scene.json", "dataset.json", "views.json")
"""Ends of the names of what others read of a run; its log and status do not count."""


def with_paths(kind: Kind, settings: Settings, change: Callable[[str], str]) -> Settings:
    """The settings, with each path in them changed."""
    return _changed(kind, settings, (), change)


def _changed(kind: Kind, settings: Settings, fields: tuple[str, ...], change: Callable[[str], str]) -> Settings:
    out: Settings = {}
    for key, value in settings.items():
        below = (*fields, key)
        if isinstance(value, dict):
            out[key] = _changed(kind, value, below, change)
        elif _is_path(kind, below):
            out[key] = (
                [change(v) if isinstance(v, str) else v for v in value]
                if isinstance(value, list)
                else (change(value) if isinstance(value, str) else value)
            )
        elif ".".join(below) in kind.prefixed and isinstance(value, str) and ":" in value:
            word, _, place = value.partition(":")
            out[key] = f"{word}:{change(place)}"
        else:
            out[key] = value
    return out


def _is_path(kind: Kind, fields: tuple[str, ...]) -> bool:
    if fields == ("to",):  # a name in the job's own folder
        return False
    return ".".join(fields) in kind.paths or Path in set(_parts(type_of(kind.config, fields)))


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in typing.get_args(annotation):
        yield from _parts(inner)


def _at(settings: Settings, name: str) -> Any:
    """The value of a setting by its dotted name; None where there is none."""
    value: Any = settings
    for key in name.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def paths_in(kind: Kind, settings: Settings) -> list[str]:
    """All paths among the settings, each once."""
    found: dict[str, None] = {}

    def note(text: str) -> str:
        found[text] = None
        return text

    with_paths(kind, settings, note)
    return list(found)


def absolute(kind: Kind, settings: Settings, folder: Path) -> Settings:
    """The settings with paths as seen from the folder of the job file; what is not there stays as it is written."""

    def change(text: str) -> str:
        if "\0" in text or len(text) > 4000:
            raise InputError(f"{text[:40]!r}: cannot be a path")
        try:
            path = folder / Path(text).expanduser()
        except RuntimeError:  # ~ of a user who is not there
            path = folder / text
        try:
            return str(Path(os.path.abspath(path))) if text and path.exists() else text
        except OSError:  # too long a name
            return text

    return with_paths(kind, settings, change)


def absent(kind: Kind, settings: Settings) -> str | None:
    """The first path among the settings that does not exist; references to other jobs do not count, nor names of
    repositories and built-in data, nor what a teacher or an editor reads, which the kind's own check knows."""
    read = {key: value for key, value in settings.items() if key not in kind.prefixed}
    hub = {text for name in kind.names if REPOSITORY.fullmatch(text := str(_at(settings, name)))}
    named = (text for text in paths_in(kind, read) if text and text not in hub.union(kind.built_in))
    named = (text for text in named if not REFERENCE.search(text))
    return next((text for text in named if not Path(text).exists()), None)


@dataclass
class Digests:
    """What files and folders contain, each read once: also over batches, as long as size and time are the same."""

    known: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    """Size, time in ns and SHA-256, by path."""

    def of(self, path: Path) -> tuple[str, int]:
        """SHA-256 and bytes of a file, or of all files in a folder; of a run, those that others read."""
        if path.is_file():
            return self._file(path)
        whole, total = hashlib.sha256(), 0
        for file in sorted(_files(path)):
            digest, size = self._file(file)
            whole.update(f"{file.relative_to(path)}\0{digest}\n".encode(errors="surrogateescape"))
            total += size
        return whole.hexdigest(), total

    def _file(self, path: Path) -> tuple[str, int]:
        stat = path.stat()
        size, time, digest = self.known.get(str(path), (-1, -1, ""))
        if (size, time) != (stat.st_size, stat.st_mtime_ns):
            digest = file_sha256(path)
            self.known[str(path)] = stat.st_size, stat.st_mtime_ns, digest
        return digest, stat.st_size


def _files(folder: Path) -> Iterator[Path]:
    if (folder / "config.yaml").is_file():
        yield from (path for path in folder.iterdir() if path.is_file() and path.name.endswith(RUN_FILES))
        return
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (path for name in names if not name.startswith(".") and (path := Path(parent, name)).is_file())
