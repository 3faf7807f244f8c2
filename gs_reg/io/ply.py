"""Gaussian PLY: one binary element `vertex`, read by property names and written as most viewers expect it."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.io.atomic import atomic_path
from gs_reg.types import Splats

log = logging.getLogger(__name__)

MAX_HEADER = 1 << 16
RENDER_MODES = ("default", "mip", "2dgs")
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
    def render_mode(self) -> str:
        """The rasterisation that the splats were trained with: default, mip (antialiased) or 2dgs."""
        for comment in self.comments:
            key, _, value = comment.replace(":", " ").partition(" ")
            if key == "SplatRenderMode" and value.strip() in RENDER_MODES:
                return value.strip()
            if key == "antialiased":
                return "mip" if value.strip() == "1" else "default"
        return "default"


def _property(words: list[str], order: str, path: Path) -> tuple[str, str]:
    if len(words) != 3 or words[1] not in _TYPES:
        raise InputError(f"{path}: expected columns of plain numbers in a splat PLY, got '{' '.join(words)}'")
    return words[2], order + _TYPES[words[1]]


def read_header(path: str | Path) -> PlyHeader:
    """The header of a PLY file, checked against the size of the file.

    Raises:
        InputError: no PLY, ASCII, a broken header, or less data than the header promises.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(MAX_HEADER)
    end = head.find(b"end_header")
    newline = head.find(b"\n", end)
    if not head.startswith(b"ply") or end < 0 or newline < 0:
        raise InputError(f"{path}: expected a PLY file (it starts with 'ply' and has 'end_header'), got something else")
    order, comments, elements = "", [], []
    for line in head[:end].decode("latin-1").splitlines()[1:]:
        words = line.split()
        if not words:
            continue
        if words[0] == "format":
            order = {"binary_little_endian": "<", "binary_big_endian": ">"}.get(words[1] if len(words) > 1 else "", "")
        elif words[0] == "comment":
            comments.append(line[len("comment") :].strip())
        elif words[0] == "element" and len(words) == 3 and words[2].isdigit():
            elements.append((words[1], int(words[2]), []))
        elif words[0] == "property" and elements:
            elements[-1][2].append(_property(words, order, path))
    if not order:
        raise InputError(
            f"{path}: expected a binary PLY, got an ASCII one or an unknown format; save it as binary_little_endian"
        )
    try:
        parts = tuple(PlyElement(name, count, np.dtype(columns)) for name, count, columns in elements)
    except ValueError as error:
        raise InputError(f"{path}: broken PLY header: {error}") from error
    need = newline + 1 + sum(element.count * element.dtype.itemsize for element in parts)
    if os.path.getsize(path) < need:
        raise InputError(f"{path}: truncated: the header promises {need} bytes, the file has {os.path.getsize(path)}")
    return PlyHeader(parts, tuple(comments), newline + 1)


def _columns(table: np.ndarray, names: list[str], path: Path) -> Tensor:
    missing = [name for name in names if name not in (table.dtype.names or ())]
    if missing:
        raise InputError(
            f"{path}: a PLY without the column '{missing[0]}' holds no Gaussian splats (a point cloud or a mesh?)"
        )
    return torch.from_numpy(np.stack([table[name].astype(np.float32) for name in names], axis=-1))


def load_ply(path: str | Path) -> Splats:
    """Splats of a Gaussian PLY, SH degree 0 to 3; properties may have any order, unknown ones are ignored.

    Raises:
        InputError: the file is broken, too short, or no Gaussian PLY.
    """
    path = Path(path)
    header = read_header(path)
    offset = header.size
    for element in header.elements:
        if element.name == "vertex":
            break
        offset += element.count * element.dtype.itemsize
    else:
        raise InputError(f"{path}: expected an element 'vertex', got {[e.name for e in header.elements]}")
    table = np.fromfile(path, dtype=element.dtype, count=element.count, offset=offset)
    rest = sum(name.startswith("f_rest_") for name in element.dtype.names or ())
    if rest not in (0, 9, 24, 45):
        raise InputError(f"{path}: expected 0, 9, 24 or 45 columns f_rest_*, got {rest}")
    dc = _columns(table, [f"f_dc_{i}" for i in range(3)], path)[:, None]
    high = _columns(table, [f"f_rest_{i}" for i in range(rest)], path) if rest else dc.new_zeros(len(dc), 0)
    return finite_rows(
        Splats(
            means=_columns(table, ["x", "y", "z"], path),
            quats=_columns(table, [f"rot_{i}" for i in range(4)], path),
            log_scales=_columns(table, [f"scale_{i}" for i in range(3)], path),
            opacity_logits=_columns(table, ["opacity"], path)[:, 0],
            # f_rest_* is channel-major: all coefficients of red, then green, then blue
            sh=torch.cat([dc, high.reshape(len(dc), 3, rest // 3).transpose(1, 2)], dim=1).contiguous(),
        ),
        path,
    )


def finite_rows(splats: Splats, path: Path) -> Splats:
    """The splats without rows that hold NaN or infinity; logs how many were dropped."""
    columns = [splats.means, splats.quats, splats.log_scales, splats.opacity_logits[:, None], splats.sh.flatten(1)]
    good = torch.stack([torch.isfinite(x).all(dim=1) for x in columns]).all(dim=0)
    if good.all():
        return splats
    log.warning("%s: dropped %d of %d splats with values that are not finite", path, int((~good).sum()), len(splats))
    return splats.rows(good)


def save_ply(path: str | Path, splats: Splats, render_mode: str = "default") -> None:
    """Writes the float32 values unchanged, with zero normals, which some viewers require; extras are not written.

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
    header += [f"element vertex {len(splats)}", *[f"property float {name}" for name in names], "end_header", ""]
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write("\n".join(header).encode())
        file.write(table.numpy().astype("<f4", copy=False).data)
