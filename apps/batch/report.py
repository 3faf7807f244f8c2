"""`gs-reg batch report`: the page of a batch, and its table as report.csv."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..runs.progress import say
from .batch import Batch
from .lockfile import read_lock
from .page import write_report


@dataclass(frozen=True)
class Config:
    batch: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BATCH")]
    """Folder of a batch."""


def main(config: Config) -> int:
    say(f"wrote {write_report(Batch(config.batch, read_lock(config.batch)))}")
    return 0
