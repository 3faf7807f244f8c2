"""How a teacher is asked: teacher.json beside model_index.json, else the values of SD3-medium."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gs_reg.errors import InputError, reading

from .schedule import MAP_PATH
from .word_maps import TAU

FILE = "teacher.json"


@dataclass(frozen=True)
class TeacherSettings:
    blocks: tuple[int, ...] | None = None
    """Whose attention is summed; None: all but the last."""
    u_path: tuple[float, ...] = MAP_PATH
    """Raw noise fractions of the calls; maps are those of the last one."""
    tau: float = TAU
    """Temperature of parts that `taus` does not name."""
    taus: Mapping[str, float] = field(default_factory=dict)
    """By name of the part."""
    resolution: int = 512
    """Side in pixels of the pictures that are shown to the teacher."""
    zero_rows: int = 256
    """Rows of zeros that stand for T5's part of the text where there is no T5."""
    refine: float = 8 / 512
    """Radius by which maps are refined on the pictures, as a share of their longer side; coarse image tokens want
    more."""
    negative: str | None = None
    """What edited pictures shall not be, in words that the network knows; None: the usual words."""


def read_settings(folder: Path) -> TeacherSettings | None:
    """None where the folder has no teacher.json.

    Raises:
        InputError: a value that cannot be.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    with reading(path):
        given = json.loads(path.read_text(encoding="utf-8"))
        tau = given.get("tau", TAU)
        taus = {str(name): float(value) for name, value in tau.items()} if isinstance(tau, dict) else {}
        settings = TeacherSettings(
            blocks=tuple(int(block) for block in given["blocks"]) if given.get("blocks") is not None else None,
            u_path=tuple(float(u) for u in given.get("u_path", MAP_PATH)),
            tau=taus.pop("default", TAU) if isinstance(tau, dict) else float(tau),
            taus=taus,
            resolution=int(given.get("resolution", 512)),
            zero_rows=int(given.get("zero_rows", 256)),
            refine=float(given.get("refine", 8 / 512)),
            negative=None if given.get("negative") is None else str(given["negative"]),
        )
    rising = all(a < b for a, b in zip((0.0, *settings.u_path), (*settings.u_path, 1.0), strict=True))
    if not settings.u_path or not rising:
        raise InputError(f"{path}: u_path is {list(settings.u_path)}: fractions that rise between 0 and 1 are needed")
    if min(settings.tau, *settings.taus.values(), 1.0) <= 0:
        raise InputError(f"{path}: tau must be above 0")
    if not 0 < settings.refine <= 0.5:
        raise InputError(f"{path}: refine is {settings.refine:g}: a share of the side up to 0.5 is needed")
    if settings.resolution < 1 or settings.zero_rows < 0:
        raise InputError(f"{path}: resolution must be above 0, and zero_rows not below")
    return settings
