"""The folder of a run: settings, log, state and results. Files are replaced atomically; events.jsonl is appended to."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gs_reg import __version__
from gs_reg.errors import InputError, in_words, reading
from gs_reg.io import checkpoint
from gs_reg.io.atomic import atomic_path, error_with_path, remove_leftovers, temporary_sibling

from .config_file import dump_yaml, load_yaml
from .interrupts import Interrupted, exit_code
from .lock import NAME as LOCK
from .lock import is_held, locked
from .progress import logged_to

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """runs/<name>/<YYYYMMDD-HHMMSS>/ or the folder that --out names."""

    path: Path

    @property
    def splats(self) -> Path:
        return self.path / "splats.ply"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def write(self, name: str, text: str) -> Path:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(target) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="surrogateescape")  # names may be any bytes
        return target

    def write_json(self, name: str, value: Any) -> Path:
        return self.write(name, json.dumps(value, indent=2) + "\n")

    def read_json(self, name: str) -> Any:
        """The map in a JSON file of the run.

        Raises:
            InputError: missing, broken, or no map.
        """
        path = self.path / name
        if not path.is_file():
            raise InputError(f"{path}: missing; is {self.path} the folder of a run?")
        with reading(path):
            data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise InputError(f"{path}: expected a map, got {type(data).__name__}")
        return data

    def event(self, **values: Any) -> None:
        """One JSON line in events.jsonl."""
        path = self.path / "events.jsonl"
        try:
            with path.open("a") as file:
                file.write(json.dumps({"time": round(time.time(), 3), **values}) + "\n")
        except OSError as error:
            raise error_with_path(error, path) from error

    def drop_events_after(self, step: int, key: str = "step") -> None:
        """Drops events after the checkpoint from which the run resumes: these steps are done again.

        `key` is what the events call the number of their step; those of another key stay.
        """
        path = self.path / "events.jsonl"
        if not path.is_file():
            return
        lines = []
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            # a killed run leaves half a line
            with contextlib.suppress(ValueError, TypeError, AttributeError, RecursionError):
                if json.loads(line).get(key, 0) <= step:
                    lines.append(line + "\n")
        self.write("events.jsonl", "".join(lines))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the run against other processes, and removes what killed ones left.

        Raises:
            InputError: another process holds it.
        """
        with locked(self.path):
            remove_leftovers(self.path)
            yield

    @property
    def last_step(self) -> int | None:
        """Step of the newest checkpoint."""
        newest = checkpoint.latest(self.checkpoints)
        return None if newest is None else int(newest.name.removeprefix("step_"))

    @contextmanager
    def recorded(self, resume: str) -> Iterator[None]:
        """Copies log messages to log.txt, and writes to status.json how the block ended.

        `resume` is the command that resumes a run; after an interrupt it is printed, with the folder.
        """
        with logged_to(self.path / "log.txt"):
            try:
                yield
            except KeyboardInterrupt as error:
                self._ended("interrupted")
                at = "" if self.last_step is None else f" at step {self.last_step}"
                hint = f"saved{at}; continue with {resume} --out {self.path}"
                raise Interrupted(exit_code(error) - 128, hint) from None
            except BaseException as error:
                self._ended("failed", error=in_words(error))
                raise
            self.status("done", step=self.last_step)

    def _ended(self, state: str, **values: Any) -> None:
        """Writes the status after an error, which a failure to write must not hide."""
        with contextlib.suppress(OSError):
            self.status(state, step=self.last_step, **values)

    def status(self, state: str, **values: Any) -> None:
        self.write_json("status.json", {"state": state, "pid": os.getpid(), "time": time.time(), **values})

    def config(self, kind: type[T]) -> T:
        return load_yaml(self.path / "config.yaml", kind)


def runs_folder(name: str | None, data: str) -> Path:
    """Parent folder of runs without --out: runs/<name>, where the default name is that of the data folder."""
    return Path("runs") / (name or Path(data).resolve().name)


def check_free(out: Path | None) -> None:
    """Raises InputError where `out` exists and is not an empty folder; what a killed start left in it is removed."""
    if out is None or not out.exists():
        return
    if out.is_dir():
        _remove_unfinished(out, STAGING)
    if not out.is_dir() or any(out.iterdir()):
        raise InputError(f"{out}: not empty; name a new folder with --out, or continue that run with --resume")


STAGING, MOVED = "unfinished", ".moved"
"""Of a new run in a folder that existed: where it is made, and in there the list of what is moved out."""


def new_run(out: Path | None, parent: Path, fill: Callable[[Run], None]) -> Run:
    """The folder of a new run, which appears only once `fill` has succeeded on a hidden one.

    It is `out`, or one below `parent` that is named after the time, to which the link `latest` in `parent` is set.

    Raises:
        InputError: `out` exists and is not an empty folder.
    """
    check_free(out)
    path = (out or parent / time.strftime("%Y%m%d-%H%M%S")).absolute()
    while out is None and path.exists():
        path = path.with_name(path.name + "x")
    inside = path.exists()  # it may be a mounted one, which no other folder can replace
    path.parent.mkdir(parents=True, exist_ok=True)
    if not inside and path.parent.is_dir():
        _remove_unfinished(path.parent, path.stem if out else None)
    hidden = temporary_sibling(path / STAGING if inside else path)
    try:
        hidden.mkdir()
        with locked(hidden):
            fill(Run(hidden))
            _move_out(hidden, path) if inside else hidden.rename(path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename:
            error.filename = str(error.filename).replace(str(hidden), str(path))
        raise
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    (path / LOCK).unlink(missing_ok=True)
    if out is None:
        _link_latest(parent / "latest", path)
    return Run(out or parent / path.name)


def _move_out(hidden: Path, path: Path) -> None:
    """Moves a complete run into the folder around it, config.yaml last: that makes it a run."""
    names = sorted((entry.name for entry in hidden.iterdir() if entry.name[0] != "."), key="config.yaml".__eq__)
    (hidden / MOVED).write_text(json.dumps(names), encoding="utf-8")
    for name in names:
        (hidden / name).rename(path / name)


def _remove_unfinished(folder: Path, stem: str | None) -> None:
    """Removes hidden folders of starts that were killed, of a run of this name or of any that is named by its time."""
    kind = re.compile(r"\." + (re.escape(stem) if stem else r"\d{8}-\d{6}x*") + r"\.\d+-[0-9a-f]{8}(\..*)?")
    for entry in folder.iterdir():
        if kind.fullmatch(entry.name) and entry.is_dir() and not is_held(entry):
            if (entry / MOVED).is_file() and not (folder / "config.yaml").exists():
                _remove_moved(entry, folder)
            shutil.rmtree(entry, ignore_errors=True)


def _remove_moved(hidden: Path, folder: Path) -> None:
    """Removes what a killed `_move_out` had moved."""
    with contextlib.suppress(ValueError):  # half a list: nothing was moved yet
        for name in json.loads((hidden / MOVED).read_text(encoding="utf-8")):
            moved = folder / name
            shutil.rmtree(moved) if moved.is_dir() else moved.unlink(missing_ok=True)


def _link_latest(link: Path, path: Path) -> None:
    """Makes a symlink; where the file system has none, a file with the folder's name."""
    remove_leftovers(link.parent, deep=False, of=link.stem)
    temporary = temporary_sibling(link)
    try:
        temporary.symlink_to(path.name)
    except OSError:
        temporary.write_text(path.name, encoding="utf-8")
    temporary.replace(link)


def open_run(path: Path) -> Run:
    """An existing run, from its folder or from the parent folder, of which `latest` is taken.

    Raises:
        InputError: there is no run.
    """
    latest = path / "latest"
    if latest.is_symlink():
        path = latest.resolve()
    elif latest.is_file():
        with reading(latest):
            path = path / latest.read_text(encoding="utf-8")
    if not (path / "config.yaml").is_file():
        what = "not the folder of a run (no config.yaml)" if path.is_dir() else "no such folder; expected that of a run"
        raise InputError(f"{path}: {what}")
    return Run(path)


def write_settings(run: Run, config: Any) -> None:
    """Writes what is needed to repeat the run: config.yaml, command.txt, versions.json."""
    run.write("config.yaml", dump_yaml(config))
    run.write("command.txt", shlex.join(["gs-reg", *sys.argv[1:]]) + "\n")
    run.write_json("versions.json", versions())


def versions() -> dict[str, Any]:
    import torch

    from gs_reg._library import native_info

    return {
        "gs-reg": __version__,
        "git": git_state(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cpu": platform.processor() or platform.machine(),
        "native": native_info()["isa"],
        "platform": platform.platform(),
    }


def git_state() -> str | None:
    """Commit of this code, with `-dirty` for uncommitted changes; None where it is not in a git checkout of its own.

    An installed copy may lie inside another project's checkout, so this file must be tracked by it.
    """

    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()

    try:
        if not git("ls-files", Path(__file__).name):
            return None
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
