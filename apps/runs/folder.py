"""The folder of a run: settings, log, state and results. Files are replaced atomically; events.jsonl is appended to."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gs_reg import __version__
from gs_reg.errors import InputError, in_words
from gs_reg.io import checkpoint
from gs_reg.io.atomic import atomic_path, error_with_path

from .config_file import dump_yaml, load_yaml
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
            temporary.write_text(text)
        return target

    def write_json(self, name: str, value: Any) -> Path:
        return self.write(name, json.dumps(value, indent=2) + "\n")

    def read_json(self, name: str) -> Any:
        try:
            return json.loads((self.path / name).read_text())
        except FileNotFoundError:
            raise InputError(f"{self.path / name}: missing; is {self.path} the folder of a run?") from None
        except json.JSONDecodeError as error:
            raise InputError(f"{self.path / name}: not valid JSON: {error}") from None

    def event(self, **values: Any) -> None:
        """One JSON line in events.jsonl."""
        path = self.path / "events.jsonl"
        try:
            with path.open("a") as file:
                file.write(json.dumps({"time": round(time.time(), 3), **values}) + "\n")
        except OSError as error:
            raise error_with_path(error, path) from error

    def drop_events_after(self, step: int) -> None:
        """Drops events after the checkpoint from which the run resumes: these steps are done again."""
        path = self.path / "events.jsonl"
        if not path.is_file():
            return
        lines = []
        for line in path.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # a killed run leaves half a line
                if json.loads(line).get("step", 0) <= step:
                    lines.append(line + "\n")
        self.write("events.jsonl", "".join(lines))

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
            except KeyboardInterrupt:
                self._ended("interrupted")
                hint = f"saved at step {self.last_step}; continue with {resume} --out {self.path}"
                raise KeyboardInterrupt(hint) from None
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
    """Raises InputError where `out` exists and is not an empty folder."""
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: not empty; name a new folder with --out, or continue that run with --resume")


@contextmanager
def new_run(out: Path | None, parent: Path) -> Iterator[Run]:
    """The folder of a new run: `out`, or one below `parent` that is named after the time.

    If the block fails, everything in it is deleted again. Without `out`, the link `latest` in `parent` is set to it.

    Raises:
        InputError: `out` exists and is not an empty folder.
    """
    check_free(out)
    path = out or parent / time.strftime("%Y%m%d-%H%M%S")
    while out is None and path.exists():
        path = path.with_name(path.name + "x")
    created = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield Run(path)
    except BaseException:
        for entry in path.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        if created:
            path.rmdir()
        raise
    if out is None:
        _link_latest(parent / "latest", path)


def _link_latest(link: Path, path: Path) -> None:
    """Makes a symlink; where the file system has none, a file with the folder's name."""
    link.unlink(missing_ok=True)
    try:
        link.symlink_to(path.name)
    except OSError:
        link.write_text(path.name)


def open_run(path: Path) -> Run:
    """An existing run, from its folder or from the parent folder, of which `latest` is taken.

    Raises:
        InputError: there is no run.
    """
    latest = path / "latest"
    if latest.is_symlink():
        path = latest.resolve()
    elif latest.is_file():
        path = path / latest.read_text()
    if not (path / "config.yaml").is_file():
        raise InputError(f"{path}: not the folder of a run (no config.yaml)")
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
