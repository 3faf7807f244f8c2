"""The folder of a run: what was asked for, what happened, what came out. Every file is replaced atomically."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gs_reg import __version__
from gs_reg.errors import InputError
from gs_reg.io.atomic import atomic_path

from .config_file import dump_yaml, load_yaml


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
        with open(self.path / "events.jsonl", "a") as file:
            file.write(json.dumps({"time": round(time.time(), 3), **values}) + "\n")

    def status(self, state: str, **values: Any) -> None:
        self.write_json("status.json", {"state": state, "pid": os.getpid(), "time": time.time(), **values})

    def config(self, kind: type) -> Any:
        return load_yaml(self.path / "config.yaml", kind)


def new_run(out: Path | None, name: str) -> Run:
    """Makes the folder, and `latest` beside it where the name is ours to choose.

    Raises:
        InputError: --out names a folder that is not empty.
    """
    if out is not None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out}: not empty; name a new folder with --out, or continue that run with --resume")
        out.mkdir(parents=True, exist_ok=True)
        return Run(out)
    parent = Path("runs") / name
    path = parent / time.strftime("%Y%m%d-%H%M%S")
    while path.exists():
        path = path.with_name(path.name + "x")
    path.mkdir(parents=True)
    link = parent / "latest"
    link.unlink(missing_ok=True)
    try:
        link.symlink_to(path.name)
    except OSError:
        link.write_text(path.name)
    return Run(path)


def open_run(path: Path) -> Run:
    """An existing run: its folder, or runs/<name> whose `latest` is meant.

    Raises:
        InputError: no run is there.
    """
    latest = path / "latest"
    if latest.is_symlink():
        path = latest.resolve()
    elif latest.is_file():
        path = path / latest.read_text()
    if not (path / "config.yaml").is_file():
        raise InputError(f"{path}: not the folder of a run (no config.yaml)")
    return Run(path)


def describe(run: Run, config: Any) -> None:
    """Writes what anyone needs to repeat the run: config.yaml, command.txt, versions.json."""
    run.write("config.yaml", dump_yaml(config))
    run.write("command.txt", " ".join(["gs-reg", *sys.argv[1:]]) + "\n")
    run.write_json("versions.json", versions())


def versions() -> dict[str, str | None]:
    import torch

    from gs_reg._library import native_info

    return {
        "gs-reg": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cpu": platform.processor() or platform.machine(),
        "native": native_info()["isa"],
        "platform": platform.platform(),
    }
