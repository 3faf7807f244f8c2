"""The result of one check of `gs-reg doctor`, and helpers that several checks use."""

from __future__ import annotations

import importlib.metadata
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    name: str
    ok: bool
    detail: str
    """What was found, or the error as it was raised."""
    fix: str = ""
    """What to do; empty where all is well."""
    required: bool = False
    """Nothing works without it: if it fails, the exit code is 1."""
    absent: bool = False
    """A part that this machine does not need is not there: no fault, `ok` stays true."""
    machine: bool = False
    """Of the machine: nothing that an installation could add."""


def version_of(package: str) -> str | None:
    """Version of an installed package; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def first_line(command: list[str], containing: str = "") -> str | None:
    """The first line with this text that a program prints; None where the program is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next((line.strip() for line in done.stdout.splitlines() if line.strip() and containing in line), None)
