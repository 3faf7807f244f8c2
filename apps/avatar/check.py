"""`gs-reg avatar check`: whether cameras, masks, codes and poses of a capture fit together, with the likely mistake."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from gs_reg.data_tools.heads.check import check_silhouettes, overlay, verdict
from gs_reg.errors import InputError
from gs_reg.io.atomic import atomic_path

from ..runs.progress import say
from .protocols import evenly
from .sources import check_pixels, described, open_source

COLUMNS = 8
"""Of the sheet of overlays."""


@dataclass(frozen=True)
class Config:
    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CAPTURE")] = ""
    """Folder of a capture."""
    prior_folder: Path | None = None
    """Folder or file of the prior, where it is no part of a package."""
    frames: int = 3
    """Frames that are looked at, evenly picked over all sequences."""
    width: int | None = None
    """Width of the pictures; default as they are."""
    out: Path | None = None
    """Folder for check.png and check.json; default <capture>/check."""
    json: bool = False
    """Print the figures on stdout."""


def main(config: Config) -> int:
    """0 where all cameras fit, 1 where some do not."""
    if not config.data:
        raise InputError("no capture named: expected its folder")
    if config.frames < 1:
        raise InputError(f"--frames: expected at least 1, got {config.frames}")
    say(f"{config.data}:")
    source = open_source(config.data, config.prior_folder, width=config.width)
    for line in described(source):
        say(f"  {line}")
    capture, prior = source.capture, source.prior
    frames = evenly(range(len(capture)), config.frames)
    check_pixels(capture, frames, range(len(capture.cameras)))
    checks = check_silhouettes(capture, prior, frames)
    out = config.out or Path(config.data) / "check"
    rows = [overlay(capture, prior, frames[0], c) for c in range(len(capture.cameras))]
    write_sheet(out / "check.png", rows)
    content = {"verdict": verdict(checks), "checks": [asdict(check) | {"good": check.good} for check in checks]}
    text = json.dumps(content, indent=1)
    with atomic_path(out / "check.json") as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    for check in checks:
        if not check.good:
            why = f": likely {check.mistake} (then {check.iou_without:.2f})" if check.mistake else ""
            say(f"  camera {check.camera} at {check.frame}: IoU {check.iou:.2f}{why}")
    say(verdict(checks))
    say(f"wrote {out / 'check.png'}: mesh of the prior, outline of the mask, axes of the head, in each camera")
    if config.json:
        print(text)
    return 0 if all(check.good for check in checks) else 1


def write_sheet(path: Path, pictures: list[np.ndarray]) -> None:
    """All pictures, in rows of COLUMNS."""
    from PIL import Image

    blank = np.full_like(pictures[0], 255)
    padded = pictures + [blank] * (-len(pictures) % min(COLUMNS, len(pictures)))
    columns = min(COLUMNS, len(pictures))
    strips = [np.concatenate(padded[i : i + columns], 1) for i in range(0, len(padded), columns)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        Image.fromarray(np.concatenate(strips, 0)).save(temporary, format="PNG")
