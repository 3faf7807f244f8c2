"""Colour correction of NeRSemble v2: a polynomial in linear colours (Cheung, Westland, Connah and Ripamonti 2004)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from gs_reg.errors import InputError, reading

_BASE = "r g b"
_SECOND = "rg rb gb"
_SQUARES = "rr gg bb"
_MIXED = "rrg ggb bbr"
_CUBES = "rrr ggg bbb"
_MORE = "rrb ggr bbg"
TERMS: dict[int, str] = {
    3: _BASE,
    5: f"{_BASE} rgb 1",
    7: f"{_BASE} {_SECOND} 1",
    8: f"{_BASE} {_SECOND} rgb 1",
    10: f"{_BASE} {_SECOND} {_SQUARES} 1",
    11: f"{_BASE} {_SECOND} {_SQUARES} rgb 1",
    14: f"{_BASE} {_SECOND} {_SQUARES} rgb {_CUBES} 1",
    16: f"{_BASE} {_SECOND} {_SQUARES} rgb {_MIXED} {_CUBES}",
    17: f"{_BASE} {_SECOND} {_SQUARES} rgb {_MIXED} {_CUBES} 1",
    19: f"{_BASE} {_SECOND} {_SQUARES} rgb {_MIXED} {_MORE} {_CUBES}",
    20: f"{_BASE} {_SECOND} {_SQUARES} rgb {_MIXED} {_MORE} {_CUBES} 1",
    22: f"{_BASE} {_SECOND} {_SQUARES} rgb {_MIXED} {_MORE} {_CUBES} rrgb rggb rgbb",
}
"""Products of red, green and blue by their number, in the order of the matrix's columns."""


def read_color_matrices(path: Path, cameras: Sequence[str]) -> dict[int, Float[ndarray, "3 K"]]:
    """Of color_calibration.json, by row of the camera; empty where there is no such file.

    Raises:
        InputError: a camera without a matrix, or one of another size.
    """
    if not path.is_file():
        return {}
    with reading(path):
        content = json.loads(path.read_text())
        for name in cameras:
            if name not in content:
                raise InputError(f"{path}: no matrix of camera {name}: expected one for every camera")
        matrices = [np.asarray(content[name], dtype=np.float64) for name in cameras]
    found = {}
    for row, (name, matrix) in enumerate(zip(cameras, matrices, strict=True)):
        matrix = matrix.T if matrix.ndim == 2 and matrix.shape[1] == 3 and matrix.shape[0] in TERMS else matrix
        if matrix.ndim != 2 or matrix.shape[0] != 3 or matrix.shape[1] not in TERMS or not np.isfinite(matrix).all():
            sizes = ", ".join(map(str, TERMS))
            raise InputError(f"{path}: {name}: got {list(matrix.shape)}: expected 3 rows of {sizes} numbers")
        found[row] = matrix
    return found


def expanded(linear: Float[ndarray, "*B 3"], terms: int) -> Float[ndarray, "*B K"]:
    """Products of the three channels."""
    channels = {"r": linear[..., 0], "g": linear[..., 1], "b": linear[..., 2], "1": np.ones_like(linear[..., 0])}
    return np.stack([np.prod([channels[c] for c in term], axis=0) for term in TERMS[terms].split()], axis=-1)


def corrected(pixels: UInt8[ndarray, "H W 3"], matrix: Float[ndarray, "3 K"]) -> UInt8[ndarray, "H W 3"]:
    """sRGB to sRGB; the matrix acts on linear colours."""
    linear = decoded(pixels.astype(np.float64) / 255)
    return (encoded(expanded(linear, matrix.shape[1]) @ matrix.T) * 255 + 0.5).astype(np.uint8)


def decoded(srgb: Float[ndarray, "*B"]) -> Float[ndarray, "*B"]:
    """Linear values."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def encoded(linear: Float[ndarray, "*B"]) -> Float[ndarray, "*B"]:
    """sRGB, clamped to [0, 1]."""
    linear = linear.clip(0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
