"""`gs-reg data inspect`: format, photos, split and cameras of a data folder, without computing anything."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from gs_reg.data_tools.dataset import ReadConfig, read_dataset


@dataclass(frozen=True)
class Config:
    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """Folder of photos, or `motorcycle`."""
    read: Annotated[ReadConfig, tyro.conf.OmitArgPrefixes] = field(default_factory=ReadConfig)
    json: bool = False
    """The same as JSON on stdout."""


def main(config: Config) -> int:
    from rich.console import Console
    from rich.table import Table

    dataset = read_dataset(config.data, config.read)
    if config.json:
        print(json.dumps(dataset.summary(), indent=2))
        return 0
    table = Table("photo", "use", "size", "fx", "fy", "cx", "cy", title=f"{config.data}: {dataset.kind}")
    for frame in dataset.frames:
        use = "train" if frame.name in dataset.train else "test" if frame.name in dataset.test else "-"
        K = frame.camera.Ks[0]
        numbers = [f"{float(x):.1f}" for x in (K[0, 0], K[1, 1], K[0, 2], K[1, 2])]
        table.add_row(frame.name, use, f"{frame.camera.width}x{frame.camera.height}", *numbers)
    console = Console()
    console.print(table)
    lines = [f"left out {name}: {reason}" for name, reason in dataset.skipped] + list(dataset.notes)
    for line in lines:
        console.print(line, markup=False, highlight=False)
    return 0
