"""How far each job is: status.json in its folder, replaced atomically, and one line an event in events.jsonl."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from gs_reg.errors import reading
from gs_reg.io.atomic import atomic_path

from ..runs.config_file import from_plain

State = Literal["pending", "running", "done", "failed", "cancelled", "stale"]
STATUS, EVENTS, STOP, LOG = "status.json", "events.jsonl", "stop", "log.txt"


def ask_to_end(folder: Path, how: Literal["stop", "cancel", "kill"]) -> None:
    """Tells the process that runs a job: stop or cancel = save and end, kill = end at once."""
    (folder / STOP).write_text(how, encoding="utf-8")


@dataclass(frozen=True)
class Status:
    state: State = "pending"
    attempt: int = 0
    """Times that it was begun."""
    host: str = ""
    pid: int = 0
    device: str = ""
    started: float = 0.0
    """Of the last attempt, as time.time()."""
    heartbeat: float = 0.0
    stage: str = ""
    progress: float | None = None
    """Share done, 0 to 1."""
    failures: tuple[str, ...] = ()
    """Class of the error of each attempt that failed."""
    error: str = ""
    """Class of the last error."""
    reason: str = ""
    """The last error in one line."""
    lines: tuple[str, ...] = ()
    """The last lines of the log after an error."""
    peak_gb: float = 0.0
    """Largest memory of an attempt."""
    seconds: float = 0.0
    """Of all attempts."""
    degraded: bool = False
    """Made with half the views or half the size, as the memory did not suffice."""


def read_status(folder: Path) -> Status:
    """The status of a job; pending where there is none.

    Raises:
        InputError: the file is broken.
    """
    path = folder / STATUS
    with reading(path):
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return Status()
        return from_plain(Status, json.loads(text), str(path))


def write_status(folder: Path, status: Status) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / STATUS) as temporary:
        temporary.write_text(json.dumps(asdict(status), indent=1) + "\n", encoding="utf-8")


def note_event(folder: Path, event: str, **values: Any) -> None:
    """Appends what happened to a job; a full disk does not stop what is recorded elsewhere too."""
    with contextlib.suppress(OSError), (folder / EVENTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"time": round(time.time(), 3), "event": event, **values}) + "\n")


def events(folder: Path) -> list[dict[str, Any]]:
    """What happened to a job; half a line, of a killed process, is left out."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for line in (folder / EVENTS).read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
    return found
