"""The splat files that we read and write, and what each of them keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gs_reg.errors import InputError

ALL_MODES = ("default", "mip", "2dgs")


@dataclass(frozen=True)
class Format:
    """One kind of splat file, named by the ending of its files."""

    suffix: str
    precision: str
    """What it rounds, in words."""
    harmonics: bool = True
    """Whether it holds view-dependent colour, up to degree 3."""
    offset: bool = True
    """Whether it has a place for what the positions leave out."""
    render_modes: tuple[str, ...] = ("default",)
    """Those that it can name."""
    readable: bool = True

    def lost(self, sh_degree: int, render_mode: str, offset: Sequence[float] | None) -> tuple[str, ...]:
        """What such splats lose in this format, a sentence each."""
        lines = []
        if sh_degree > 0 and not self.harmonics:
            left_out = "degree 1 is" if sh_degree == 1 else f"degrees 1 to {sh_degree} are"
            lines.append(f"{self.suffix} holds no view-dependent colour; {left_out} left out")
        if render_mode not in self.render_modes:
            lines.append(
                f"{self.suffix} cannot say that the splats are '{render_mode}'; viewers will draw them as default"
            )
        if offset is not None and any(offset) and not self.offset:
            lines.append(f"{self.suffix} has no place for the offset: note it, or write a .ply, whose header tells it")
        return tuple(lines)


_FLOATS = "float32 values as they are"
_USD = "float32 values; written, not read"
FORMATS = (
    Format(
        ".compressed.ply",
        "positions and sizes in 10 to 11 bits of the range of 256 neighbours, colours in 8, SH in steps of 1/32",
        render_modes=ALL_MODES,
    ),
    Format(".ply", _FLOATS, render_modes=ALL_MODES),
    Format(
        ".spz",
        "positions in steps of 2^-16 units or coarser, sizes of 1/16 in log, colours and SH in 8 bits",
        offset=False,
        render_modes=("default", "mip"),
    ),
    Format(".splat", "positions and sizes as they are, colours and turns in 8 bits", harmonics=False, offset=False),
    Format(
        ".sog",
        "positions in 16 bits of log(1 + |x|), sizes and colours among 256 numbers each, SH among up to 65,536 sets",
        render_modes=ALL_MODES,
    ),
    Format(".glb", f"{_FLOATS}, opacities and sizes not as logarithms"),
    *(Format(suffix, _USD, readable=False) for suffix in (".usdz", ".usdc", ".usda", ".usd")),
)
SUFFIXES = tuple(f.suffix for f in FORMATS if f.readable)
"""Of files that are read and written."""
WRITABLE = tuple(f.suffix for f in FORMATS)


def format_of(path: str | Path, suffixes: Sequence[str] = SUFFIXES) -> Format:
    """The format that the file's name ends with; raises InputError for one that is not among `suffixes`."""
    name = Path(path).name.lower()
    for known in FORMATS:
        if name.endswith(known.suffix) and known.suffix in suffixes:
            return known
    if name.endswith(WRITABLE):
        raise InputError(f"{path}: USD is written, not read; expected a splat file ending with {', '.join(suffixes)}")
    raise InputError(f"{path}: expected a splat file ending with {', '.join(suffixes)}")
