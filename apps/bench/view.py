"""`gs-reg bench view`: how soon a million splats are shown, how often they are drawn, what a live page costs a fit."""

from __future__ import annotations

import json
import os
import resource
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
from .looked_at import PICTURE, LookedAt, look_at_a_fit
from .server_process import ServerProcess
from .visitor import Visitor, turn

SPLATS = "GaussianSplatsMessage"
MOST_SECONDS, LEAST_RATE, MOST_SLOWER = 10.0, 5.0, 0.1
"""To open a million splats; pictures of 640x480 a second while the camera moves; what a live page may cost a fit, as a
share of its time. On two free cores."""
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
    fit: str = "motorcycle"
    """Photos of the fit that a live page is opened on, as `gs-reg reconstruct` takes them."""
    fit_steps: int = 200
    """Of the preset best, four times: twice alone and twice looked at; 0 = not measured."""
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
    seen = None
    if config.fit_steps:
        seen = look_at_a_fit(config.fit, config.fit_steps, config.width, config.height, config.device)
    say(
        f"open: address after {opening.listening:.1f} s, splats in the browser after {opening.sent:.1f} s "
        f"(wanted: {MOST_SECONDS:g} s for a million), {opening.processor:.1f} s of processor time"
    )
    say(
        f"moving: {moving.rate:.1f} pictures/s of {config.width}x{config.height} (wanted: {LEAST_RATE:g}), "
        f"{moving.processor:.3f} s of processor time each; fine {moving.rest:.1f} s after the last movement"
    )
    if seen:
        say(_words(seen, config))
    if config.json:
        figures = {"load_average": os.getloadavg()[0], "opening": vars(opening), "moving": vars(moving)}
        figures["fit"] = vars(seen) | {"slower": seen.slower} if seen else None
        config.json.write_text(json.dumps(figures | {"source": str(config.source or "random")}, indent=2) + "\n")
    return 0


def _words(seen: LookedAt, config: Config) -> str:
    return (
        f"live page: {config.fit_steps} steps in {seen.alone:.1f} s alone, in {seen.seen:.1f} s with a camera that "
        f"always moves: {100 * seen.slower:.1f} % slower (wanted: at most {100 * MOST_SLOWER:g} %), "
        f"{seen.pictures:.0f} pictures"
    )


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
    with _viewer(config, source, "browser") as viewer, Visitor(viewer.url, config.width, config.height) as visitor:
        visitor.look((0, 0, -2.5), (0, 0, 0))
        visitor.await_kind(SPLATS, PATIENCE)
        sent = time.perf_counter() - viewer.begun
    return Opening(viewer.listening, sent, _children_seconds() - before)


def move(config: Config, source: Path) -> Moving:
    with _viewer(config, source, "server") as viewer, Visitor(viewer.url, config.width, config.height) as visitor:
        turn(visitor, 0.0)
        visitor.await_kind(PICTURE, PATIENCE)
        while visitor.receive(2.0):  # the fine one, which warms up all that the moving ones need
            pass
        begun, before, count = time.perf_counter(), viewer.processor_seconds(), len(visitor.kinds)
        while (at := time.perf_counter() - begun) < config.seconds:
            turn(visitor, at)
            visitor.receive(1 / 60)
        pictures = visitor.kinds[count:].count(PICTURE)
        each = (viewer.processor_seconds() - before) / max(pictures, 1)
        ended = last = time.perf_counter()
        while time.perf_counter() - last < 2.0:
            if PICTURE in visitor.receive(0.1):
                last = time.perf_counter()
    return Moving(pictures / config.seconds, each, last - ended)


def _viewer(config: Config, source: Path, draw: str) -> ServerProcess:
    return ServerProcess(["view", str(source), "--draw", draw, "--device", config.device])


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
