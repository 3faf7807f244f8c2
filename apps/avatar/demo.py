"""`gs-reg demo avatar`: a synthetic head is captured, an avatar trained on it and driven; nothing is downloaded."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from gs_reg.priors.arkit import ARKIT

from ..look.report import read_json
from ..runs.folder import check_free
from ..runs.progress import say
from . import drive, synth, train
from .config import Config as TrainConfig
from .results import PROTOCOLS, words

SECONDS, FPS = 4.0, 24.0
"""Of the driven video."""


@dataclass(frozen=True)
class Config:
    out: Path | None = None
    """Folder for the capture and the run; default runs/demo-avatar/<time>."""
    seed: int = 0
    """Seed of everything random."""


def main(config: Config) -> int:
    check_free(config.out)
    began = time.perf_counter()
    out = config.out or Path("runs/demo-avatar") / datetime.now().strftime("%Y%m%d-%H%M%S")
    capture, run = out / "capture", out / "avatar"
    say("a synthetic head, seen by eight cameras in five sequences, of which FREE is held out:")
    scene = synth.Config.of_preset("demo")
    synth.main(replace(scene, out=capture, capture=replace(scene.capture, seed=config.seed)))
    base = TrainConfig.of_preset("demo")
    consent = "no person: a synthetic head"
    code = train.main(
        replace(base, data=str(capture), out=run, seed=config.seed, licence="CC0", consent=consent, device="cpu")
    )
    table, video = out / "performance.csv", out / "driven.mp4"
    table.write_text(performance())
    drive.main(drive.Config(run=str(run), source=str(table), out=video, scale=1.5, fps=FPS))
    result = read_json(run / "result.json")
    minutes = (time.perf_counter() - began) / 60
    for name in PROTOCOLS:
        say(f"{name.replace('_', ' ')}: {words(result[name])}")
    say(f"{minutes:.1f} minutes in all; what was made:")
    for path in (run / "report.html", table, run / "videos" / "self_reenactment.mp4", video, run / "avatar"):
        say(f"  {path}")
    return code


def performance() -> str:
    """A table of ARKit coefficients for `avatar drive`: two blinks, a smile, an open mouth, and a turn of the head."""

    def bump(at: float, middle: float, width: float) -> float:
        return max(0.0, math.cos(math.pi / 2 * min(abs(at - middle) / width, 1.0)))

    lines = [",".join(["time", *ARKIT, "headYaw"])]
    for frame in range(round(SECONDS * FPS)):
        at = frame / FPS
        blink, smile = bump(at, 0.8, 0.25) + bump(at, 3.2, 0.25), 0.8 * bump(at, 1.6, 0.7)
        face = {"eyeBlinkLeft": blink, "eyeBlinkRight": blink, "mouthSmileLeft": smile, "mouthSmileRight": smile}
        face["jawOpen"] = 0.8 * bump(at, 2.6, 0.5)
        yaw = 0.3 * math.sin(2 * math.pi * at / SECONDS)
        lines.append(",".join(f"{value:.4f}" for value in (at, *(face.get(name, 0.0) for name in ARKIT), yaw)))
    return "\n".join(lines) + "\n"
