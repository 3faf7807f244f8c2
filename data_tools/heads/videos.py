"""Frames of videos: each video is unpacked once, at the working size, into a cache folder."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from gs_reg.errors import InputError

SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm")
_UNPACKING = Lock()


def frame_size(path: Path) -> tuple[int, int]:
    """Width and height.

    Raises:
        InputError: no video that can be read.
    """
    import cv2

    video = _opened(path)
    return int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT))


def frame_count(path: Path) -> int:
    """As the file's head says.

    Raises:
        InputError: no video that can be read.
    """
    import cv2

    return int(_opened(path).get(cv2.CAP_PROP_FRAME_COUNT))


def _opened(path: Path):
    import cv2

    if not path.is_file():
        raise InputError(f"{path}: the file is missing: put it back, or delete its camera from camera_params.json")
    video = cv2.VideoCapture(str(path))
    if not video.isOpened() or not video.get(cv2.CAP_PROP_FRAME_COUNT) >= 1:
        raise InputError(f"{path}: not a video that can be read: copy it again")
    return video


@dataclass(frozen=True)
class Unpacked:
    """Frames of videos as files, shrunk to at most `width`."""

    folder: Path
    width: int

    def frame(self, video: Path, index: int) -> Path:
        """The file of one frame; the first call for a video unpacks all of it.

        Raises:
            InputError: the video cannot be read, or has fewer frames.
        """
        status = video.stat()
        key = f"{video.resolve()} {status.st_size} {status.st_mtime_ns} {self.width}"
        folder = self.folder / hashlib.sha256(key.encode()).hexdigest()[:24]
        with _UNPACKING:
            if not (folder / "complete").exists():
                self._unpack(video, folder)
        path = folder / f"{index:05d}.png"
        if not path.is_file():
            raise InputError(f"{video}: no frame {index}: the video is shorter than the others: copy it again")
        return path

    def _unpack(self, video: Path, folder: Path) -> None:
        import cv2

        folder.mkdir(parents=True, exist_ok=True)
        stream, index = _opened(video), 0
        while True:
            known, pixels = stream.read()
            if not known:
                break
            height, width = pixels.shape[:2]
            if width > self.width:
                size = (self.width, max(1, round(height * self.width / width)))
                pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
            half = folder / f".{os.getpid()}.png"
            cv2.imwrite(str(half), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
            os.replace(half, folder / f"{index:05d}.png")
            index += 1
        (folder / "complete").touch()
