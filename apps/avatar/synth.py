"""`gs-reg avatar synth`: a synthetic multi-view capture of a head, in NeRSemble's layout, with codes and the truth."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from gs_reg.data_tools.heads.synth import Scan, SynthConfig, synthesize
from gs_reg.data_tools.heads.synth.config import PRESETS
from gs_reg.errors import InputError

from ..runs.progress import say, stage_bar


@dataclass(frozen=True)
class Config:
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")] = Path("runs/capture")
    """New folder of the capture."""
    preset: str = "full"
    """Values of all flags that are not given. full: 550x802, 16 cameras, 12 sequences of 48 frames; s1: 200x292, of the
    benchmark; demo, ci, tiny: smaller."""
    face: Path | None = None
    """Colour map of a scanned head, unwrapped around the vertical, that replaces the painted skin."""
    capture: Annotated[SynthConfig, tyro.conf.OmitArgPrefixes, tyro.conf.AvoidSubcommands] = field(
        default_factory=SynthConfig
    )

    @classmethod
    def of_preset(cls, name: object) -> Config:
        """The config with the values of a preset; raises InputError for what is no name of one, of any type."""
        if not isinstance(name, str) or name not in PRESETS:
            raise InputError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r}")
        return cls(preset=name, capture=PRESETS[name])


def main(config: Config) -> int:
    c = config.capture if config.face is None else replace(config.capture, scan=Scan(config.face))
    photos = len(c.sequences) * c.frames * len(c.serials)
    say(
        f"plan: {len(c.sequences)} sequences of {c.frames} frames, {len(c.serials)} cameras of {c.width}x{c.height}: "
        f"{photos:,} photos of a head of prior {c.prior}, into {config.out}"
    )
    with stage_bar("photos") as progress:
        for step in synthesize(c, config.out):
            progress(f"{step.sequence}, {step.done:,} of {step.total:,}", step.done / step.total)
    say(f"wrote {config.out}: `gs-reg avatar check` shows it, `gs-reg avatar train` makes an avatar of it")
    return 0
