"""Kinds of jobs: the command that each is, its flags, and which of them are paths. A job file names a kind, no more."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gs_reg.errors import InputError
from gs_reg.io import format_of

from ..runs.config_file import dump_yaml
from ..runs.folder import open_run

Settings = dict[str, Any]
"""Of a command, nested as in config.yaml."""
OF_THE_BATCH = ("out", "name", "config", "resume", "dry_run", "json", "overwrite")
"""Flags that the batch gives itself."""
GS_REG = (sys.executable, "-m", "gs_reg")


@dataclass(frozen=True)
class Words:
    """The command of a job: how it begins, and how it goes on where its run is there already."""

    fresh: tuple[str, ...]
    again: tuple[str, ...]
    config: str = ""
    """Text of job.yaml, which `fresh` names."""


@dataclass(frozen=True)
class Kind:
    module: str
    """Of the command, inside gs_reg.apps."""
    words: Callable[[Settings, Path, Path], Words]
    """From settings, the job's folder and its output."""
    paths: tuple[str, ...] = ()
    """Settings that are a path though they are texts; those of the type Path are known."""
    prefixed: tuple[str, ...] = ()
    """Settings such as masks:DIR."""
    check: Callable[[Any], None] | None = None
    """Refuses a config that the command would refuse."""
    smaller: Callable[[Settings], Settings] | None = None
    """Settings that need less memory."""
    target: Callable[[Settings], str] | None = None
    """Name of what it writes where the settings have no `to`."""
    names: tuple[str, ...] = ()
    """Of `paths`, those that may also be the name of a repository."""
    built_in: tuple[str, ...] = ()
    """Data that come with gs-reg, named in the place of a path."""
    gpu: bool = True
    """Whether it computes on a GPU where there is one."""

    @property
    def config(self) -> Any:
        """The dataclass of its flags."""
        return importlib.import_module(f"gs_reg.apps.{self.module}").Config


def _a_run(command: str) -> Callable[[Settings, Path, Path], Words]:
    """A command that makes a run, with --config and --resume."""

    def words(settings: Settings, folder: Path, out: Path) -> Words:
        start = (*GS_REG, *command.split())
        fresh = (*start, "--config", str(folder / "job.yaml"), "--out", str(out))
        return Words(fresh, (*start, "--resume", "--out", str(out)), dump_yaml(settings))

    return words


def _a_file(command: str, first: str) -> Callable[[Settings, Path, Path], Words]:
    """A command that writes --to."""

    def words(settings: Settings, folder: Path, out: Path) -> Words:
        rest = {key: value for key, value in settings.items() if key not in (first, "to")}
        target = out / settings["to"]
        line = (*GS_REG, *command.split(), str(settings[first]), *_flags(rest), f"--to={target}", "--overwrite")
        return Words(line, line)

    return words


def _an_eval(settings: Settings, folder: Path, out: Path) -> Words:
    rest = {key: value for key, value in settings.items() if key != "run"}
    line = (*GS_REG, "eval", str(settings["run"]), *_flags(rest))
    return Words(line, line)


def _flags(settings: Mapping[str, Any], place: str = "") -> tuple[str, ...]:
    """Settings as words of a command line."""
    words: list[str] = []
    for key, value in settings.items():
        name = f"{place}{key}".replace("_", "-")
        if isinstance(value, Mapping):
            words += _flags(value, f"{name}.")
        elif isinstance(value, bool):
            words.append(
                f"--{name}" if value else "--" + ".".join([*name.split(".")[:-1], f"no-{name.split('.')[-1]}"])
            )
        elif isinstance(value, list):
            words += [f"--{name}", *map(str, value)]
        else:
            words.append(f"--{name}={value}")
    return tuple(words)


def _check_reconstruct(config: Any) -> None:
    from ..scenes.no_effect import check_effect
    from ..scenes.whole_run import with_whole_run

    if not config.data:
        raise InputError("data: expected the folder of its photos")
    check_effect(with_whole_run(config))


def _check_edit(config: Any) -> None:
    from ..edit.checks import check_edit

    check_edit(config)


def _check_parts(config: Any) -> None:
    from ..edit.checks import check_parts

    check_parts(config)


def _check_avatar(config: Any) -> None:
    from ..avatar.checks import check_flags

    if not config.data:
        raise InputError("data: expected the folder of a capture")
    check_flags(config)


def _check_export(config: Any) -> None:
    from ..look.mesh import check_mesh_target
    from ..look.target import check_target

    _check_target(config.to)
    with _about("to"):
        if config.format == "mesh":
            check_mesh_target(config.to, overwrite=True)
        else:
            check_target(config.to, config.source, dataclasses.replace(config.writing, overwrite=True))
    with _about("source"):
        if config.source.is_dir():
            open_run(config.source)
        elif config.source.exists():
            format_of(config.source)


def _check_render(config: Any) -> None:
    from ..look.video import check_name

    _check_target(config.to)
    if config.what == "path":
        with _about("to"):
            check_name(config.to)
    _check_run(config)


def _check_run(config: Any) -> None:
    with _about("run"):
        if config.run.exists():
            open_run(config.run)


@contextmanager
def _about(setting: str) -> Iterator[None]:
    """Complaints in the block are about a setting."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{setting}: {error}") from None


def _check_target(to: Path) -> None:
    """What --to names lies in the job's own folder."""
    name = str(to)
    if not name or name.startswith(".") or "/" in name or "\\" in name or not name.isprintable() or len(name) > 200:
        raise InputError(f"to: expected the name of a file in the job's own folder, got {name!r:.80}")


def _half_photos(settings: Settings) -> Settings:
    read = dict(settings.get("read", {}))
    if isinstance(read.get("downscale"), int):
        read["downscale"] *= 2
    else:
        read["long_side"] = max(1, read.get("long_side", 1600) // 2)
    return settings | {"read": read}


def _half_views(settings: Settings) -> Settings:
    from ..edit.presets import PRESETS

    preset = PRESETS[settings.get("preset", "best")]
    return settings | {"views": max(1, settings.get("views", preset.views) // 2), "size": 384}


def _one_camera(settings: Settings) -> Settings:
    return settings | {"views": 1}


def _render_target(settings: Settings) -> str:
    return "path.mp4" if settings.get("what", "path") == "path" else settings["what"]


EDIT_PATHS, EDIT_PREFIXED = ("data", "model"), ("teacher", "editor")
KINDS: dict[str, Kind] = {
    "reconstruct": Kind(
        "scenes.reconstruct",
        _a_run("reconstruct"),
        ("data", "depth.path"),
        check=_check_reconstruct,
        smaller=_half_photos,
        names=("depth.path",),
        built_in=("motorcycle",),
    ),
    "avatar": Kind("avatar.train", _a_run("avatar train"), ("data",), check=_check_avatar, smaller=_one_camera),
    "edit": Kind("edit.run", _a_run("edit run"), EDIT_PATHS, EDIT_PREFIXED, _check_edit, _half_views, names=("model",)),
    "parts": Kind(
        "edit.parts", _a_run("edit parts"), EDIT_PATHS, EDIT_PREFIXED, _check_parts, _half_views, names=("model",)
    ),
    "export": Kind(
        "look.export", _a_file("export", "source"), check=_check_export, target=lambda _: "scene.ply", gpu=False
    ),
    "eval": Kind("scenes.evaluate", _an_eval, check=_check_run, gpu=False),
    "render": Kind("look.render", _a_file("render", "run"), check=_check_render, target=_render_target, gpu=False),
}
NEEDED = {"export": "source", "eval": "run", "render": "run"}
"""Settings without which a kind has nothing to do."""
