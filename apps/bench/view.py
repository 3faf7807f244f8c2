"""`gs-reg bench view`: how soon the viewer shows a million splats, how often it draws while a camera moves."""

from __future__ import annotations

import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from gs_reg.errors import InputError
from gs_reg.io import save_splats
from gs_reg.types import Splats

from ..runs.progress import say
from .visitor import Visitor

PICTURE, SPLATS = "BackgroundImageMessage", "GaussianSplatsMessage"
MOST_SECONDS, LEAST_RATE = 10.0, 5.0
"""To open a million splats; pictures of 640x480 a second while the camera moves. On two free cores."""
PATIENCE = 300.0
"""Seconds for what should take ten: the machine may be full of other work."""


@dataclass(frozen=True)
class Config:
    source: Path | None = None
    """Run or splat file to open; None = random splats."""
    gaussians: int = 1_000_000
    """Of the random splats."""
    degree: int = 3
    """Of their harmonics."""
    width: int = 640
    height: int = 480
    """Window in pixels."""
    seconds: float = 5.0
    """For which the camera moves."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    json: Path | None = None
    """File for the figures."""


@dataclass(frozen=True)
class Opening:
    listening: float
    """Seconds from the start of the command until its address is said."""
    sent: float
    """Until a browser, which connects at once, has all splats."""
    processor: float
    """Seconds of the command's threads in all."""


@dataclass(frozen=True)
class Moving:
    rate: float
    """Pictures a second while the camera moves."""
    processor: float
    """Seconds of the command's threads for each of them."""
    rest: float
    """Seconds from the last movement to the fine picture."""


def main(config: Config) -> int:
    if min(config.gaussians, config.width, config.height) < 16 or not 0 <= config.degree <= 3:
        raise InputError("expected at least 16 Gaussians and pixels, and a degree of 0 to 3")
    with tempfile.TemporaryDirectory() as folder:
        source = config.source or random_file(Path(folder) / "random.ply", config.gaussians, config.degree)
        opening, moving = open_in_browser(config, source), move(config, source)
    say(
        f"open: address after {opening.listening:.1f} s, splats in the browser after {opening.sent:.1f} s "
        f"(wanted: {MOST_SECONDS:g} s for a million), {opening.processor:.1f} s of processor time"
    )
    say(
        f"moving: {moving.rate:.1f} pictures/s of {config.width}x{config.height} (wanted: {LEAST_RATE:g}), "
        f"{moving.processor:.3f} s of processor time each; fine {moving.rest:.1f} s after the last movement"
    )
    if config.json:
        figures = {"load_average": os.getloadavg()[0], "opening": vars(opening), "moving": vars(moving)}
        config.json.write_text(json.dumps(figures | {"source": str(config.source or "random")}, indent=2) + "\n")
    return 0


def random_file(path: Path, count: int, degree: int) -> Path:
    """Splats of about the size of a pixel in a ball, as a PLY."""
    g = torch.Generator().manual_seed(0)
    splats = Splats(
        torch.randn(count, 3, generator=g),
        torch.randn(count, 4, generator=g),
        0.5 * torch.randn(count, 3, generator=g) - 5.5,
        2 * torch.randn(count, generator=g),
        0.3 * torch.randn(count, (degree + 1) ** 2, 3, generator=g),
    )
    save_splats(path, splats)
    return path


def open_in_browser(config: Config, source: Path) -> Opening:
    before = _children_seconds()
    with Viewer(config, source, "browser") as viewer, Visitor(viewer.url, config.width, config.height) as visitor:
        visitor.look((0, 0, -2.5), (0, 0, 0))
        visitor.await_kind(SPLATS, PATIENCE)
        sent = time.perf_counter() - viewer.begun
    return Opening(viewer.listening, sent, _children_seconds() - before)


def move(config: Config, source: Path) -> Moving:
    with Viewer(config, source, "server") as viewer, Visitor(viewer.url, config.width, config.height) as visitor:
        _turn(visitor, 0.0)
        visitor.await_kind(PICTURE, PATIENCE)
        while visitor.receive(2.0):  # the fine one, which warms up all that the moving ones need
            pass
        begun, before, count = time.perf_counter(), viewer.processor_seconds(), len(visitor.kinds)
        while (at := time.perf_counter() - begun) < config.seconds:
            _turn(visitor, at)
            visitor.receive(1 / 60)
        pictures = visitor.kinds[count:].count(PICTURE)
        each = (viewer.processor_seconds() - before) / max(pictures, 1)
        ended = last = time.perf_counter()
        while time.perf_counter() - last < 2.0:
            if PICTURE in visitor.receive(0.1):
                last = time.perf_counter()
    return Moving(pictures / config.seconds, each, last - ended)


def _turn(visitor: Visitor, seconds: float) -> None:
    """A camera on a circle round the middle, at half a turn in 6 seconds."""
    angle = math.pi * seconds / 6
    eye = (2.5 * math.sin(angle), 0.0, -2.5 * math.cos(angle))
    visitor.look(eye, (0, 0, 0), (math.cos(angle / 2), 0, -math.sin(angle / 2), 0))


class Viewer:
    """`gs-reg view` in a process of its own, from its address until the end of the block."""

    def __init__(self, config: Config, source: Path, draw: str) -> None:
        words = ["view", str(source), "--draw", draw, "--device", config.device]
        self.begun = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gs_reg", *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        assert self._process.stderr is not None
        found, said = None, ""
        for said in self._process.stderr:
            if found := re.match(r"open (http://\S+) ", said):
                break
        if found is None:
            self._process.wait()
            raise InputError(f"gs-reg view ended: {said.strip() or 'it said nothing'}")
        self.url, self.listening = found[1], time.perf_counter() - self.begun

    def processor_seconds(self) -> float:
        """So far, on Linux."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.communicate()


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
