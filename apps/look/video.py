"""MP4 files that every browser plays, written by the ffmpeg program of imageio-ffmpeg."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from gs_reg.errors import InputError
from gs_reg.io.atomic import atomic_path

SUFFIXES = ".mp4", ".mov", ".mkv"
"""Endings of files that hold H.264."""


def write_video(path: str | Path, frames: Iterable[UInt8[np.ndarray, "H W 3"]], fps: float = 30, crf: int = 18) -> int:
    """Writes frames of one size as H.264 and returns how many.

    H.264 needs even sides: an odd one grows by one repeated row or column. `crf` is the quality of x264: 18 looks
    lossless, 28 gives a small file.

    Raises:
        InputError: no frames, a frame of another size or type, or a name with another ending.
    """
    import imageio_ffmpeg

    check_name(path)
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise InputError(f"{path}: a video needs at least one frame")
    height, width = first.shape[0] + first.shape[0] % 2, first.shape[1] + first.shape[1] % 2
    options: dict[str, Any] = {
        "fps": fps,
        "codec": "libx264",
        "pix_fmt_out": "yuv420p",
        "macro_block_size": 1,
        "quality": None,  # crf instead
        "output_params": ["-crf", str(crf), "-movflags", "+faststart"],
        "ffmpeg_log_level": "error",
    }
    with atomic_path(path) as temporary:
        writer = imageio_ffmpeg.write_frames(str(temporary), (width, height), **options)
        writer.send(None)  # starts the generator
        count = 0
        try:
            for frame in chain([first], frames):
                if frame.shape != first.shape or frame.dtype != np.uint8:
                    raise InputError(
                        f"{path}: frame {count}: expected uint8 {first.shape}, got {frame.dtype} {frame.shape}"
                    )
                even = np.pad(frame, ((0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0)), mode="edge")
                writer.send(np.ascontiguousarray(even))
                count += 1
        finally:
            writer.close()
    return count


def check_name(path: str | Path) -> None:
    """Checks that the ending is that of a video.

    Raises:
        InputError: it is not.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: expected a name of a video, ending in {', '.join(SUFFIXES)}")
