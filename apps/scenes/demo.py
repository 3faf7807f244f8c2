"""`gs-reg demo`: `reconstruct` on two real photos that ship with a dependency, compared with their measured depth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from gs_reg.data_tools.dataset import ReadConfig

from ..runs.folder import open_run, runs_folder
from ..runs.progress import say
from ..runs.results import DEPTH_OF_SPLATS
from . import reconstruct
from .config import Config as ReconstructConfig
from .presets import BEST


@dataclass(frozen=True)
class Config:
    out: Path | None = None
    """Folder of the run; default runs/demo/<time>."""
    steps: int = 600
    """Steps of training."""
    seed: int = 0
    """Seed of everything random."""


def main(config: Config) -> int:
    reconstruct_config = ReconstructConfig(
        data="motorcycle",
        read=ReadConfig(),
        out=config.out,
        name="demo",
        seed=config.seed,
        free=replace(BEST.free, train=replace(BEST.free.train, steps=config.steps)),
    )
    code = reconstruct.main(reconstruct_config)
    run = open_run(config.out or runs_folder("demo", "motorcycle"))
    depth = run.read_json("result.json")["depth"]
    before = depth["initial"]
    say(
        f"depth of the left photo against its measured disparity: median error {before['median_relative_error']:.2%}, "
        f"{before['within_5_percent']:.1%} of {depth['pixels']:,} measured pixels within 5 %"
    )
    say(f"  as the trained splats draw it: {depth['median_relative_error']:.2%}; {DEPTH_OF_SPLATS}")
    for name in ("splats.ply", "report.html", "videos/path.mp4"):
        say(f"  {run.path / name}")
    return code
