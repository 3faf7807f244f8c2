"""`gs-reg clean`: floaters, splats that nobody sees and what lies outside of a box are removed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from gs_reg.clean import CleanRules, cleaned, removals
from gs_reg.errors import InputError

from ..runs.progress import plural, say
from .opened import Frame, open_source, title_of
from .target import Writing, check_target, write_splats


@dataclass(frozen=True)
class Config:
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """Splat file or folder of a run."""
    out: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")] = None
    """File to write; its ending chooses the format. Not needed for --dry-run."""
    rules: Annotated[CleanRules, tyro.conf.OmitArgPrefixes] = CleanRules()
    dry_run: bool = False
    """Only say how many splats each rule would remove."""
    frame: Frame = "local"
    """local: the file's coordinates; input: with the offset that it notes; normalised: of a run, those of training."""
    writing: Annotated[Writing, tyro.conf.OmitArgPrefixes] = Writing()


WORDS = {
    "crop": "outside of the box",
    "opacity": "of an opacity below {min_opacity:g}",
    "size": "half transparent and longer than {max_size:g} of the scene's radius",
    "isolated": "isolated: 8 nearest over {isolated:g} own sizes and median distances away",
}


def main(config: Config) -> int:
    if config.out is None and not config.dry_run:
        raise InputError("OUT is missing: gs-reg clean IN OUT, or --dry-run to see the numbers")
    if config.out is not None:
        check_target(config.out, config.source, config.writing)
    opened = open_source(config.source, config.frame, config.writing.spz_frame)
    found = removals(opened.splats, config.rules)
    for name, rows in found.items():
        if name != "crop" or config.rules.crop is not None:
            say(f"  {name}: {plural(int(rows.sum()), 'Gaussian')} {WORDS[name].format_map(vars(config.rules))}")
    kept = cleaned(opened.splats, found)
    say(f"{'would keep' if config.dry_run else 'kept'} {len(kept)} of {plural(len(opened.splats), 'Gaussian')}")
    if config.out is not None and not config.dry_run:
        if not len(kept):
            raise InputError(f"{config.source}: the rules remove all of it; nothing was written")
        write_splats(config.out, replace(opened, splats=kept), config.writing, title_of(config.source))
    return 0
