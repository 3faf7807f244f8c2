"""A job is run by whoever holds its lease: a file made by exclusive create, which its holder touches every 15 s.

Leases are numbered, lease/1, lease/2 ...; the highest counts. Taking over makes the next number, which only one process
can; the old holder finds it at its next renewal and stops. Released leases stay until the next one is made, so that no
number is given twice.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = "lease"
RENEW_SECONDS, SILENT_SECONDS = 15.0, 90.0
RELEASED = "released"


@dataclass(frozen=True)
class Lease:
    """Held by this process."""

    path: Path
    token: str

    def renew(self) -> bool:
        """Whether it is still ours; touches it, by the clock of the file system."""
        with contextlib.suppress(OSError):
            if _newest(self.path.parent) == int(self.path.name) and self.token in self.path.read_text():
                os.utime(self.path)
                return True
        return False

    def release(self) -> None:
        with contextlib.suppress(OSError):
            if self.token in self.path.read_text():
                self.path.write_text(RELEASED)

    def names(self, child: int) -> None:
        """Writes into it the process that does the work, which may outlive this one."""
        self.path.write_text(_content(self.token, child))


@dataclass
class Watch:
    """Looks at the lease of another process, again and again."""

    folder: Path
    """Of the job."""
    seen: tuple[int, int] = (0, 0)
    """Its number and the time of its last renewal."""
    since: float = field(default_factory=time.monotonic)
    """When `seen` became so, by a clock that nobody sets."""

    def silent(self) -> bool:
        """Whether nobody holds the job: released, its process here is gone, or it was not renewed for 90 s.

        The age is by the file system's clock, and what it says must be seen for two renewals at least: so neither a
        clock set forward ends a live lease nor one set back keeps a dead one for ever.
        """
        number = _newest(self.folder / FOLDER)
        if number == 0:
            return True
        path = self.folder / FOLDER / str(number)
        try:
            text, renewed = path.read_text(), path.stat().st_mtime_ns
        except OSError:
            return False  # just replaced
        if text == RELEASED or _is_gone(text):
            return True
        if self.seen != (number, renewed):
            self.seen, self.since = (number, renewed), time.monotonic()
            return False
        watched = time.monotonic() - self.since
        return watched >= SILENT_SECONDS or (watched >= 2 * RENEW_SECONDS and self._age(renewed) >= SILENT_SECONDS)

    def _age(self, renewed: int) -> float:
        """Seconds since the renewal, by the file system's clock."""
        probe = self.folder / FOLDER / f".probe-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            probe.touch()
            return (probe.stat().st_mtime_ns - renewed) / 1e9
        finally:
            probe.unlink(missing_ok=True)


def acquire(folder: Path, watch: Watch | None = None) -> Lease | None:
    """The lease of a job; None where another process holds it.

    `watch`: of a lease that may have fallen silent.
    """
    leases = folder / FOLDER
    number = _newest(leases)
    if not (watch or Watch(folder)).silent():
        return None
    leases.mkdir(parents=True, exist_ok=True)
    token, path = secrets.token_hex(8), leases / str(number + 1)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return None
    with open(handle, "w") as file:
        file.write(_content(token))
    if _newest(leases) != number + 1:  # ours was made behind a newer one
        return None
    for old in range(max(1, number - 5), number + 1):
        (leases / str(old)).unlink(missing_ok=True)
    return Lease(path, token)


def _newest(leases: Path) -> int:
    """The highest number; 0 = none."""
    try:
        return max((int(name) for name in os.listdir(leases) if name.isdecimal()), default=0)
    except FileNotFoundError:
        return 0


def _content(token: str, child: int = 0) -> str:
    mine = {"token": token, "place": place(), "pid": os.getpid(), "born": _born(os.getpid())}
    return json.dumps(mine | ({"child": child, "child_born": _born(child)} if child else {}))


def _is_gone(text: str) -> bool:
    """Whether the holder was on this machine, and neither it nor the process that it started is there any more."""
    try:
        holder = json.loads(text)
        if holder["place"] != place():
            return False
        gone = _born(holder["pid"]) != holder["born"]
        return gone and ("child" not in holder or _born(holder["child"]) != holder["child_born"])
    except (ValueError, KeyError, TypeError):
        return False  # being written; if for ever, its age tells


@functools.cache
def place() -> str:
    """This machine since it was started, and which of its containers: process numbers mean something there alone."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return "/".join(parts)


def _born(pid: int) -> str:
    """When a process began, so that a later one with its number is not taken for it; "" = there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return ""
    except PermissionError:
        return "runs"
    return "runs" if not Path("/proc/self/stat").exists() else ""
