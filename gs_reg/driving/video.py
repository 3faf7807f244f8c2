"""Frames of videos, read by the ffmpeg program of imageio-ffmpeg."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from gs_reg.driving.types import check_rate
from gs_reg.errors import InputError, reading


def video_frames(path: str | Path) -> tuple[Iterator[UInt8[np.ndarray, "H W 3"]], float]:
    """The frames of a video one by one, upright, and their rate.

    Raises:
        InputError: no video that can be read.
    """
    import imageio_ffmpeg

    if not Path(path).is_file():
        raise InputError(f"{path}: no such file: expected a video")
    imageio_ffmpeg.get_ffmpeg_exe()
    stream = imageio_ffmpeg.read_frames(str(path))
    try:
        meta = next(stream)
    except Exception as error:  # whatever the parser of ffmpeg's text stumbles on; the text is a page long
        raise InputError(f"{path}: not a video that ffmpeg reads") from error
    width, height = meta["size"]
    fps = float(meta["fps"])
    if width * height == 0:
        raise InputError(f"{path}: a file without pictures: expected a video")
    check_rate(fps, f"{path}: rate of the video")

    def frames() -> Iterator[np.ndarray]:
        with reading(path):
            for data in stream:
                yield np.frombuffer(data, np.uint8).reshape(height, width, 3)

    return frames(), fps
