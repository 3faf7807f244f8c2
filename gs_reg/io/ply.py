"""Gaussian PLY: one binary element `vertex`, read by property names and written as most viewers expect it."""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.io.atomic import atomic_path
from gs_reg.io.tags import RenderMode
from gs_reg.types import Splats

log = logging.getLogger(__name__)

MAX_HEADER = 1 << 16
OPAQUE_LOGIT = 20.0
"""Stands for an infinite logit: its opacity is 1 in float32."""
FLAT_SCALE = 1e-30
"""Stands for a size of 0, whose logarithm is not finite: its square is 0 in float32."""
RENDER_MODES: tuple[RenderMode, ...] = ("default", "mip", "2dgs")
OFFSET = "SplatOffset"
"""Key of the comment with the offset: `comment SplatOffset: x y z`."""
ROUNDED = 1e-4
"""Rounding over the scene's size from which there is a warning: a tenth of a pixel where it fills 1000."""
_TYPES = {
    "char": "i1",
    "uchar": "u1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "uint": "u4",
    "float": "f4",
    "double": "f8",
}
_TYPES |= {"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"}
_TYPES |= {"float32": "f4", "float64": "f8"}


@dataclass(frozen=True)
class PlyElement:
    name: str
    count: int
    dtype: np.dtype
    """The columns of a row; of a list only its length, as the rest has no fixed size."""
    has_list: bool


@dataclass(frozen=True)
class PlyHeader:
    elements: tuple[PlyElement, ...]
    comments: tuple[str, ...]
    size: int
    """Bytes of the header: the data begin there."""

    @property
    def compressed(self) -> bool:
        """Whether it is PlayCanvas' compressed PLY (`.compressed.ply`)."""
        names = {element.name: element.dtype.names or () for element in self.elements}
        return "chunk" in names and "packed_position" in names.get("vertex", ())

    @property
    def offset(self) -> tuple[float, float, float] | None:
        """What was subtracted from the positions, where a comment says so: add it for those of the source.

        Raises:
            ValueError: the comment has no three finite numbers. Passed over, it would lose where the splats are.
        """
        for comment in self.comments:
            key, *values = comment.replace(":", " ").split() or [""]
            if key == OFFSET:
                with contextlib.suppress(ValueError):
                    x, y, z = map(float, values)
                    if math.isfinite(x + y + z):
                        return x, y, z
                raise ValueError(f"comment {comment!r}: expected three finite numbers; mend the line or remove it")
        return None

    @property
    def render_mode(self) -> RenderMode:
        """The rasterisation that the splats were trained with: default, mip (antialiased) or 2dgs."""
        for comment in self.comments:
            key, _, value = comment.replace(":", " ").partition(" ")
            if key == "SplatRenderMode":
                for mode in RENDER_MODES:
                    if value.strip() == mode:
                        return mode
            if key == "antialiased":
                return "mip" if value.strip() == "1" else "default"
        return "default"


def _count(word: str, path: Path) -> int:
    # more digits than a file can have rows; int() itself refuses some thousands
    if not (word.isascii() and word.isdecimal() and len(word) < 19):
        raise InputError(f"{path}: truncated, or a broken PLY header: no file has {word[:40]!a} rows")
    return int(word)


def _property(words: list[str], order: str, path: Path) -> tuple[str, str]:
    """Name and type of a column; those of its length where it is a list (`property list uchar int name`)."""
    types = words[2:4] if words[1:2] == ["list"] else words[1:2]
    if len(words) != 2 + len(types) + (words[1:2] == ["list"]) or not all(word in _TYPES for word in types):
        raise InputError(f"{path}: broken PLY header: expected a type and a name, got {' '.join(words)[:80]!a}")
    return words[-1], order + _TYPES[types[0]]


def _parse(lines: list[str], path: Path) -> PlyHeader:
    """What the lines say, with a size of 0."""
    order, comments, elements, lists = "", [], {}, set()
    for line in lines:
        words = line.split() or [""]
        if words[0] == "format":
            order = {"binary_little_endian": "<", "binary_big_endian": ">"}.get(words[1] if len(words) > 1 else "", "")
        elif words[0] == "comment":
            comments.append(line[len("comment") :].strip())
        elif words[0] == "element":
            if len(words) != 3 or words[1] in elements:
                raise InputError(f"{path}: broken PLY header: expected a new name and a count, got {line[:80]!a}")
            elements[words[1]] = (_count(words[2], path), [])
        elif words[0] == "property":
            if not elements:
                raise InputError(f"{path}: broken PLY header: {line[:80]!a} stands before any element")
            name = list(elements)[-1]
            elements[name][1].append(_property(words, order, path))
            if words[1] == "list":
                lists.add(name)
    if not order:
        raise InputError(
            f"{path}: expected a binary PLY, got an ASCII one or an unknown format; save it as binary_little_endian"
        )
    try:
        parts = tuple(PlyElement(name, n, np.dtype(columns), name in lists) for name, (n, columns) in elements.items())
    except ValueError as error:
        raise InputError(f"{path}: broken PLY header: {error}") from error
    return PlyHeader(parts, tuple(comments), 0)


def read_header(path: str | Path) -> PlyHeader:
    """The header of a PLY file, checked against the size of the file.

    Raises:
        InputError: no PLY, ASCII, a broken header, or less data than the header promises.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(MAX_HEADER)
    end = head.find(b"\nend_header")
    newline = head.find(b"\n", end + 1)
    if head[:4] not in (b"ply\n", b"ply\r") or end < 0 or newline < 0:
        raise InputError(f"{path}: expected a PLY file (it starts with 'ply' and has 'end_header'), got something else")
    # not splitlines(): it also splits at bytes that UTF-8 comments hold
    header = _parse(head[:end].decode("latin-1").split("\n")[1:], path)
    need = newline + 1 + sum(element.count * element.dtype.itemsize for element in header.elements)
    if os.path.getsize(path) < need:
        raise InputError(f"{path}: truncated: the header promises {need} bytes, the file has {os.path.getsize(path)}")
    return replace(header, size=newline + 1)


def read_element(path: Path, header: PlyHeader, name: str) -> np.ndarray:
    """The rows of one element.

    Raises:
        InputError: no such element, or a list in it or before it, which makes its place unknown.
    """
    offset = header.size
    for element in header.elements:
        if element.has_list:
            raise InputError(
                f"{path}: expected lists only behind '{name}' in a splat PLY, got one in {element.name[:40]!a}"
            )
        if element.name == name:
            count = element.count if element.dtype.itemsize else 0
            return np.fromfile(path, dtype=element.dtype, count=count, offset=offset)
        offset += element.count * element.dtype.itemsize
    raise InputError(f"{path}: expected an element '{name}', got {[e.name[:40] for e in header.elements[:9]]!a}")


def _columns(table: np.ndarray, names: list[str], path: Path) -> Tensor:
    missing = [name for name in names if name not in (table.dtype.names or ())]
    if missing:
        raise InputError(
            f"{path}: a PLY without the column '{missing[0]}' holds no Gaussian splats (a point cloud or a mesh?)"
        )
    with np.errstate(over="ignore", invalid="ignore"):  # doubles beyond float32 become infinite
        return torch.from_numpy(np.stack([table[name].astype(np.float32) for name in names], axis=-1))


def load_ply(path: str | Path) -> Splats:
    """Splats of a Gaussian PLY, SH degree 0 to 3; properties may have any order, unknown ones are ignored.

    Raises:
        InputError: the file is broken, too short, or no Gaussian PLY.
    """
    path = Path(path)
    return finite_rows(splats_of(read_element(path, read_header(path), "vertex"), path), path)


def splats_of(table: np.ndarray, path: Path) -> Splats:
    """The columns of a Gaussian PLY's vertices as splats, with what is not finite; `path` is for messages.

    Raises:
        InputError: a column is missing.
    """
    rest = sum(name.startswith("f_rest_") for name in table.dtype.names or ())
    if rest not in (0, 9, 24, 45):
        raise InputError(f"{path}: expected 0, 9, 24 or 45 columns f_rest_*, got {rest}")
    _warn_of_rounding(table, path)
    dc = _columns(table, [f"f_dc_{i}" for i in range(3)], path)[:, None]
    high = _columns(table, [f"f_rest_{i}" for i in range(rest)], path) if rest else dc.new_zeros(len(dc), 0)
    return Splats(
        means=_columns(table, ["x", "y", "z"], path),
        quats=_columns(table, [f"rot_{i}" for i in range(4)], path),
        log_scales=_columns(table, [f"scale_{i}" for i in range(3)], path),
        opacity_logits=_columns(table, ["opacity"], path)[:, 0],
        # f_rest_* is channel-major: all coefficients of red, then green, then blue
        sh=torch.cat([dc, high.reshape(len(dc), 3, rest // 3).transpose(1, 2)], dim=1).contiguous(),
    )


def _warn_of_rounding(table: np.ndarray, path: Path) -> None:
    """Warns where positions in doubles are so far from the origin that float32 moves them by a share of their size."""
    axes = [table[name] for name in "xyz" if name in (table.dtype.names or ()) and table.dtype[name].itemsize == 8]
    if len(axes) < 3 or not len(table):
        return
    positions = np.stack(axes, 1)
    positions = positions[np.isfinite(positions).all(1)]
    rounding = np.abs(positions - positions.astype(np.float32)).max(initial=0)
    size = np.median(np.abs(positions - np.median(positions, 0))) if len(positions) else 0
    if rounding > size * ROUNDED:
        log.warning(
            "%s: positions are far from the origin: float32 moves them by up to %.2g; write them less an offset",
            *(path, rounding),
        )


def finite_rows(splats: Splats, path: Path) -> Splats:
    """The splats with finite numbers only, as kernels and viewers need them.

    An infinite logit (an opacity of 1 or 0) and a log-scale of minus infinity (a size of 0) have a meaning: they become
    the finite numbers that draw the same. Other rows with NaN or infinity are dropped, and their number is logged.
    """
    splats, good = with_meaning(splats)
    if good.all():
        return splats
    log.warning("%s: dropped %d of %d splats with values that are not finite", path, int((~good).sum()), len(splats))
    return splats.rows(good)


def with_meaning(splats: Splats) -> tuple[Splats, Bool[Tensor, "N"]]:
    """The splats with finite numbers for infinite ones that have a meaning, and which rows are finite then."""
    logits, log_scales = splats.opacity_logits, splats.log_scales
    # only infinite values are touched: other values beyond these keep their bits
    logits = torch.where(logits.isinf(), logits.clamp(-OPAQUE_LOGIT, OPAQUE_LOGIT), logits)
    log_scales = torch.where(log_scales == -torch.inf, log_scales.new_tensor(FLAT_SCALE).log(), log_scales)
    splats = replace(splats, opacity_logits=logits, log_scales=log_scales)
    columns = [splats.means, splats.quats, log_scales, logits[:, None], splats.sh.flatten(1)]
    return splats, torch.stack([torch.isfinite(x).all(dim=1) for x in columns]).all(dim=0)


def offset_comment(offset: Sequence[float]) -> str:
    """The line of a header that tells the offset."""
    return f"comment {OFFSET}: " + " ".join(repr(float(x)).removesuffix(".0") for x in offset)


def save_ply(
    path: str | Path, splats: Splats, render_mode: str = "default", offset: Sequence[float] | None = None
) -> None:
    """Writes the float32 values unchanged, with zero normals, which some viewers require; extras are not written.

    `offset` is noted in the header: what was subtracted from the positions.

    Raises:
        InputError: spherical harmonics of a degree above 3, or an unknown render mode.
    """
    if render_mode not in RENDER_MODES:
        raise InputError(f"render_mode: expected one of {', '.join(RENDER_MODES)}, got {render_mode}")
    K = splats.sh.shape[1]
    if K not in (1, 4, 9, 16):
        raise InputError(f"{path}: Gaussian PLY holds spherical harmonics of degree 0 to 3, got {K} coefficients")
    splats = finite_rows(splats.detach().to("cpu", torch.float32), Path(path))
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *[f"f_rest_{i}" for i in range(3 * K - 3)]]
    names += ["opacity", *[f"scale_{i}" for i in range(3)], *[f"rot_{i}" for i in range(4)]]
    high = splats.sh[:, 1:].transpose(1, 2).flatten(1)
    parts = [splats.means, torch.zeros_like(splats.means), splats.sh[:, 0], high]
    table = torch.cat([*parts, splats.opacity_logits[:, None], splats.log_scales, splats.quats], dim=1)
    header = ["ply", "format binary_little_endian 1.0", f"comment SplatRenderMode: {render_mode}"]
    header += [] if offset is None else [offset_comment(offset)]
    header += [f"element vertex {len(splats)}", *[f"property float {name}" for name in names], "end_header", ""]
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write("\n".join(header).encode())
        file.write(table.numpy().astype("<f4", copy=False).data)
