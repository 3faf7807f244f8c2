"""`gs-reg teacher data`: pictures of procedural objects with named parts, to train and measure the small teacher on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from gs_reg.data_tools.synthetic.objects.dataset import INDEX, DataConfig, read_index, write_dataset
from gs_reg.errors import InputError

from ..runs.progress import say, stage_bar

BYTES_PER_SUBPIXEL = 3
"""Of code, shade and gloss."""


@dataclass(frozen=True)
class Config:
    out: Path = Path("runs/teacher/data")
    """Folder of the data set; some 50 KB a picture of 64 pixels."""
    data: Annotated[DataConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=DataConfig)
    force: bool = False
    """Replace a data set that is there already."""


def main(config: Config) -> int:
    if config.out.exists() and not config.force:
        if (config.out / INDEX).is_file() and DataConfig(**read_index(config.out)["config"]) == config.data:
            say(f"{config.out}: complete already")
            return 0
        raise InputError(f"{config.out}: exists already; --force replaces it")
    pictures = {split: count * config.data.views for split, count in config.data.counts.items()}
    total = sum(pictures.values())
    size = f"{total * BYTES_PER_SUBPIXEL * (2 * config.data.size) ** 2 / 1e6:,.2f} MB"
    say(f"plan: {total:,} pictures of {config.data.size}x{config.data.size} pixels, {size} on disk, into {config.out}")
    with stage_bar("pictures") as report:
        write_dataset(config.out, config.data, report)
    say(f"{config.out}: {pictures['train']:,} pictures to train on, {pictures['test']:,} of other shapes to measure")
    return 0
