"""`gs-reg batch status`: how the jobs of a batch stand; reads alone, also while it runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .batch import Batch
from .listing import print_status, rows
from .lockfile import read_lock


@dataclass(frozen=True)
class Config:
    batch: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BATCH")]
    """Folder of a batch."""
    json: bool = False
    """Print it as JSON."""


def main(config: Config) -> int:
    batch = Batch(config.batch, read_lock(config.batch))
    if config.json:
        print(json.dumps(rows(batch)))
    else:
        print_status(batch)
    return 0
