"""Compressed PLY (PlayCanvas) through gsply: chunks of 256 splats, 16 bytes each and SH in steps of 1/32."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gs_reg.errors import InputError
from gs_reg.io.atomic import atomic_path
from gs_reg.io.ply import offset_comment, read_element, read_header
from gs_reg.io.quantised import check_and_clean, from_gsply, to_gsply, warn_of_clamped
from gs_reg.neighbors import morton_order
from gs_reg.types import Splats

log = logging.getLogger(__name__)

CHUNK = 256
"""Splats that share one set of bounds."""
BOUNDS = [f"{end}_{of}{axis}" for of in ("", "scale_") for end in ("min", "max") for axis in "xyz"]
COLOUR_BOUNDS = [f"{end}_{colour}" for end in ("min", "max") for colour in "rgb"]
PACKED = [f"packed_{name}" for name in ("position", "rotation", "scale", "color")]
LOG_SIZES = (-20.0, 20.0)


def _table(rows: np.ndarray, names: list[str], kind: str, path: Path) -> np.ndarray:
    """The named columns of a PLY element side by side, in the type `kind`.

    Raises:
        InputError: a column is missing or has another type.
    """
    for name in names:
        if name not in (rows.dtype.names or ()) or rows.dtype[name].newbyteorder("<") != np.dtype(kind):
            raise InputError(f"{path}: expected a column '{name}' of type {np.dtype(kind).name} in a compressed PLY")
    if not names:
        return np.empty((len(rows), 0), kind)
    return np.stack([rows[name].astype(kind) for name in names], axis=-1)


def _packed_header(chunks: int, splats: int, rest: int) -> bytes:
    lines = ["ply", "format binary_little_endian 1.0", f"element chunk {chunks}"]
    lines += [f"property float {name}" for name in BOUNDS + COLOUR_BOUNDS]
    lines += [f"element vertex {splats}", *(f"property uint {name}" for name in PACKED)]
    if rest:
        lines += [f"element sh {splats}", *(f"property uchar f_rest_{i}" for i in range(rest))]
    return "\n".join([*lines, "end_header", ""]).encode()


def load_compressed_ply(path: str | Path) -> Splats:
    """Splats of a compressed PLY; of the older layout too, with 12 bounds a chunk and colours as they are.

    Raises:
        InputError: broken or truncated, or of another layout.
    """
    from gsply import decompress_from_bytes

    path = Path(path)
    header = read_header(path)
    chunks, vertices = (read_element(path, header, name) for name in ("chunk", "vertex"))
    if len(chunks) != -(-len(vertices) // CHUNK):
        raise InputError(
            f"{path}: expected one chunk for {CHUNK} of its {len(vertices)} splats, got {len(chunks)} chunks"
        )
    bounds, packed = _table(chunks, BOUNDS, "<f4", path), _table(vertices, PACKED, "<u4", path)
    if any(name in COLOUR_BOUNDS for name in chunks.dtype.names or ()):
        colours = _table(chunks, COLOUR_BOUNDS, "<f4", path)
    else:  # the older layout: colours from 0 to 1
        colours = np.repeat(np.array([[0, 0, 0, 1, 1, 1]], "<f4"), len(chunks), axis=0)
    sh = np.empty((len(vertices), 0), "u1")
    if any(element.name == "sh" for element in header.elements):
        rows = read_element(path, header, "sh")
        if len(rows) != len(vertices) or rows.dtype.itemsize not in (9, 24, 45):
            raise InputError(f"{path}: the spherical harmonics do not fit {len(vertices)} splats of degree 0 to 3")
        sh = _table(rows, [f"f_rest_{i}" for i in range(rows.dtype.itemsize)], "u1", path)
    # gsply reads its own layout only: the same columns in its order
    parts = [_packed_header(len(chunks), len(vertices), sh.shape[1]), np.hstack([bounds, colours]), packed, sh]
    with np.errstate(invalid="ignore", over="ignore"):  # bounds that are not finite, or too far apart for float32
        data = decompress_from_bytes(b"".join(bytes(part) for part in parts))
    return from_gsply(data, path)


def lasting_degree(splats: Splats) -> int:
    """The SH degree at which the rounding of a compressed PLY harms colours least.

    The format holds coefficients in steps of 1/32 and has no zero, so weaker ones become noise of up to 1/64. Leaving
    degrees out costs their energy; keeping them costs the squared error of the rounding. Both are weighed by opacity.
    """
    weight, gains = splats.opacities.double()[:, None], [0.0]
    for degree in range(1, splats.sh_degree + 1):
        gain = 0.0
        for k in range(degree**2, (degree + 1) ** 2):
            sh = splats.sh[:, k].double()
            error = ((sh * 32 + 128).floor().clamp(0, 255) - 127.5) / 32 - sh
            gain += float((weight * (sh.square() - error.square())).sum())
        gains.append(gains[-1] + gain)
    return max(range(len(gains)), key=gains.__getitem__)


def save_compressed_ply(
    path: str | Path, splats: Splats, offset: Sequence[float] | None = None, render_mode: str = "default"
) -> None:
    """Writes 16 bytes a splat (more with SH). Rows are reordered along a Morton curve: it keeps the bounds of the
    chunks, and so the quantisation error, small. Degrees of SH too weak for the format are left out with a warning.
    `offset` is noted in the header: what was subtracted from the positions; so is a render mode that is not default."""
    from gsply import compress_to_bytes

    splats = check_and_clean(Path(path), splats)
    warn_of_clamped(path, splats, LOG_SIZES)
    degree, kept = splats.sh_degree, lasting_degree(splats)
    if kept < degree:
        log.warning(
            "%s: view-dependent colour of degree %s is weaker than the steps of this format and would become noise; "
            "it is left out",
            path,
            degree if kept + 1 == degree else f"{kept + 1} to {degree}",
        )
        splats = replace(splats, sh=splats.sh[:, : (kept + 1) ** 2])
    splats = splats.rows(morton_order(splats.means))
    data = compress_to_bytes(to_gsply(splats))
    comments = [] if offset is None else [offset_comment(offset)]
    comments += [] if render_mode == "default" else [f"comment SplatRenderMode: {render_mode}"]
    data = data.replace(b"\nelement ", "\n".join(["", *comments, "element "]).encode(), 1)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
