"""Pictures of the report: read, shrunk, as data URIs; and error maps."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from gs_reg.errors import InputError

MAX_SIDE = 1200
ERROR_FULL_SCALE = 0.25
"""Mean absolute error of the channels, in [0, 1], that an error map shows as its brightest colour."""
ERROR_RAMP = ((0.03, 0.03, 0.09), (0.27, 0.10, 0.42), (0.68, 0.20, 0.42), (0.95, 0.47, 0.25), (0.99, 0.92, 0.62))


def error_map(
    a: UInt8[np.ndarray, "H W 3"], b: UInt8[np.ndarray, "H W 3"], seen: Bool[np.ndarray, "h w"] | None = None
) -> UInt8[np.ndarray, "H W 3"]:
    """Mean absolute difference of the channels as colour, dark = equal; pixels that are not `seen` become grey.

    A mask of another size is ignored.
    """
    error = np.abs(a.astype(np.float32) - b).mean(-1) / (255 * ERROR_FULL_SCALE)
    ramp = np.asarray(ERROR_RAMP, np.float32)
    positions = np.linspace(0, 1, len(ramp))
    colors = np.stack([np.interp(error, positions, ramp[:, c]) for c in range(3)], -1)
    if seen is not None and seen.shape == error.shape:
        grey = 0.35 + 0.3 * colors.mean(-1, keepdims=True)
        colors = np.where(seen[..., None], colors, grey)
    return (colors * 255).round().astype(np.uint8)


def read_rgb(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """The pixels of a picture file.

    Raises:
        InputError: no picture that can be read.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise InputError(f"{path}: not a picture that can be read: {error}") from error


def jpeg_data_uri(pixels: UInt8[np.ndarray, "H W 3"], quality: int = 86) -> str:
    """Pixels as a JPEG in a data URI, shrunk to at most MAX_SIDE pixels wide and high."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def file_data_uri(path: Path) -> str:
    return jpeg_data_uri(read_rgb(path))
