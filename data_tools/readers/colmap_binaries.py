"""A look at the lengths inside COLMAP's binary files: cut-off or overwritten ones send its own reader astray.

pycolmap reads a cut-off cameras.bin as if nothing were missing, and a cut-off frames.bin without an end.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from gs_reg.errors import InputError

Walk = Callable[[bytes, int], int]
"""From the start of one record to its end."""
POSE = 7 * 8


def check_binaries(model: Path) -> None:
    """Walks over the records of every binary file of a model.

    Raises:
        InputError: a file ends before its records do, or goes on after them.
    """
    for name, walk in RECORDS.items():
        path = model / f"{name}.bin"
        if not path.is_file():
            continue
        try:
            data = path.read_bytes()
            (count,) = struct.unpack_from("<Q", data)
            at = 8
            for _ in range(count):
                at = walk(data, at)
                if at > len(data):
                    raise ValueError(f"{len(data)} bytes are too few for {count} {name}")
            if at != len(data):
                raise ValueError(f"{len(data)} bytes are too many for {count} {name}")
        except (OSError, ValueError, struct.error) as error:
            raise InputError(f"{path}: broken COLMAP file ({error}): copy or export it again") from None


def _camera(data: bytes, at: int) -> int:
    import pycolmap

    _, model, width, height = struct.unpack_from("<IiQQ", data, at)
    known = {int(value): name for name, value in pycolmap.CameraModelId.__members__.items()}
    if known.get(model, "INVALID") == "INVALID" or not (0 < width < 2**31 and 0 < height < 2**31):
        raise ValueError(f"camera model {model} of {width}x{height} pixels")
    empty = pycolmap.Camera.create_from_model_name(0, known[model], 1.0, width, height)
    return at + 24 + 8 * len(empty.params)


def _image(data: bytes, at: int) -> int:
    end = data.index(b"\0", at + 4 + POSE + 4) + 1
    return end + 8 + 24 * struct.unpack_from("<Q", data, end)[0]


def _point(data: bytes, at: int) -> int:
    return at + 51 + 8 * struct.unpack_from("<Q", data, at + 43)[0]


def _rig(data: bytes, at: int) -> int:
    (sensors,) = struct.unpack_from("<I", data, at + 4)
    at += 8 + 8 * (sensors > 0)  # the first sensor is the rig's origin
    for _ in range(1, sensors):
        at += 9 + POSE * struct.unpack_from("<B", data, at + 8)[0]
    return at


def _frame(data: bytes, at: int) -> int:
    return at + 8 + POSE + 4 + 16 * struct.unpack_from("<I", data, at + 8 + POSE)[0]


RECORDS: dict[str, Walk] = {
    "cameras": _camera,
    "images": _image,
    "points3D": _point,
    "rigs": _rig,
    "frames": _frame,
}
