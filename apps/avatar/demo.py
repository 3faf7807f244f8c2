"""`gs-reg demo avatar`: a synthetic head is captured, an avatar trained on it and driven; nothing is downloaded."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from ..look.report import read_json
from ..runs.folder import check_free
from ..runs.progress import say
from . import drive, synth, train
from .config import Config as TrainConfig
from .results import PROTOCOLS, words


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
    video = out / "driven.mp4"
    drive.main(drive.Config(run=str(run), out=video, camera="orbit", scale=1.5))
    result = read_json(run / "result.json")
    minutes = (time.perf_counter() - began) / 60
    for name in PROTOCOLS:
        say(f"{name.replace('_', ' ')}: {words(result[name])}")
    say(f"{minutes:.1f} minutes in all; what was made:")
    for path in (run / "report.html", run / "videos" / "self_reenactment.mp4", video, run / "avatar"):
        say(f"  {path}")
    return code
