"""MP4 files that every browser plays, written by the ffmpeg program of imageio-ffmpeg."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from tempfile import TemporaryFile
from typing import IO

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
        OSError: the disk is full, or ffmpeg failed; what was at `path` is there still.
    """
    check_name(path)
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise InputError(f"{path}: a video needs at least one frame")
    height, width = first.shape[0] + first.shape[0] % 2, first.shape[1] + first.shape[1] % 2
    count = 0
    with atomic_path(path) as temporary, _encoder(temporary, width, height, fps, crf) as encoder:
        for frame in chain([first], frames):
            if frame.shape != first.shape or frame.dtype != np.uint8:
                raise InputError(
                    f"{path}: frame {count}: expected uint8 {first.shape}, got {frame.dtype} {frame.shape}"
                )
            even = np.pad(frame, ((0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0)), mode="edge")
            encoder.write(even.tobytes())
            count += 1
    return count


@contextmanager
def _encoder(path: Path, width: int, height: int, fps: float, crf: int) -> Iterator[IO[bytes]]:
    """Input of an ffmpeg that writes `path`: RGB, 3 bytes a pixel. At the end of the block the file is complete.

    imageio_ffmpeg's own writer does not look at the exit status: what fails as the file is closed went unseen.

    Raises:
        OSError: ffmpeg failed; the reason is its own.
    """
    import imageio_ffmpeg

    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:.8g}", "-i", "-"]
    target = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", f"{crf}", "-movflags", "+faststart", str(path)]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", *source, *target]
    with TemporaryFile() as log:
        # a session of its own: Ctrl-C in a terminal is for us alone
        process = Popen(command, stdin=PIPE, stdout=DEVNULL, stderr=log, start_new_session=True)
        assert process.stdin is not None
        try:
            yield process.stdin
            process.stdin.close()
        except BrokenPipeError:
            pass  # it ended early, and says below why
        except BaseException:
            process.kill()
            raise
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()
            status = process.wait()
        if status:
            log.seek(0)
            lines = log.read().decode(errors="replace").split("\n")
            raise OSError(f"ffmpeg failed: {lines[0] or f'exit status {status}'}")


def check_name(path: str | Path) -> None:
    """Checks that the ending is that of a video.

    Raises:
        InputError: it is not.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: expected a name of a video, ending in {', '.join(SUFFIXES)}")
