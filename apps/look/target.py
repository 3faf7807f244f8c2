"""Splats written where the user asked, in the format of the name, and what was lost on the way in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gs_reg.clean import with_degree
from gs_reg.errors import InputError
from gs_reg.io import WRITABLE, format_of, save_splats
from gs_reg.io.html import save_html

from ..runs.progress import plural, say, stage_bar
from .opened import Opened

HTML = ".html"


@dataclass(frozen=True)
class Writing:
    """Flags of all commands that write splats."""

    sh_degree: int | None = None
    """Leave out view-dependent colour above this degree, 0 to 3."""
    spz_version: Literal[3, 4] = 4
    """Version of .spz: 4 is smaller, older viewers read only 3."""
    spz_frame: Literal["rub", "raw"] = "rub"
    """Axes in .spz files: rub = right, up, back, as the format says; raw = the numbers as they are, which some programs
    read and write."""
    overwrite: bool = False
    """Replace a file that is already there."""


def check_target(to: Path, source: Path, writing: Writing) -> None:
    """Refuses what cannot be written before anything is read; raises InputError."""
    name = to.name.lower()
    if not name.endswith((*WRITABLE, HTML)):
        raise InputError(f"{to}: expected a name ending with one of {', '.join((*WRITABLE, HTML))}")
    if writing.spz_version != 4 and not name.endswith(".spz"):
        raise InputError(f"--spz-version is for .spz only, got {to}")
    if writing.spz_frame != "rub" and not name.endswith(".spz") and source.suffix.lower() != ".spz":
        raise InputError(f"--spz-frame is for .spz only, got {source} and {to}")
    if to.exists() and not writing.overwrite:
        raise InputError(f"{to}: exists; name another file or pass --overwrite")


def write_splats(to: Path, opened: Opened, writing: Writing, title: str) -> None:
    """Writes the file and says its size, how exact it is, and what its format cannot hold."""
    splats = with_degree(opened.splats, writing.sh_degree)
    as_page = to.name.lower().endswith(HTML)
    with stage_bar("export") as progress:
        progress(f"writing {to.name}", 0.0)
        if as_page:
            save_html(to, splats, opened.cameras, title=title, near=opened.near)
        else:
            save_splats(
                to,
                splats,
                render_mode=opened.render_mode,
                spz_version=writing.spz_version,
                spz_frame=writing.spz_frame,
                offset=opened.offset,
            )
    before, after = opened.file.stat().st_size, to.stat().st_size
    say(f"wrote {to}: {plural(len(splats), 'Gaussian')}, {after / 1e6:.1f} MB (from {before / 1e6:.1f} MB)")
    for line in (*opened.notes, *([] if as_page else _about(to, opened.offset))):
        say(f"  {line}")


def _about(to: Path, offset: Sequence[float] | None) -> tuple[str, ...]:
    """How exact the format is, and whether it leaves the offset out; save_splats itself says what else is lost."""
    kind = format_of(to, WRITABLE)
    return (f"{kind.suffix}: {kind.precision}", *kind.lost(0, "default", offset))
