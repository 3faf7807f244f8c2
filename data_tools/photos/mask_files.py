"""Which file is the mask of which photo: by the photo's whole name, or by its end where no other photo has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from ..readers.types import SourceFrame
from .images import SUFFIXES

NAMES = ("masks", "mask")
"""Folders that are looked into unasked."""
ENDINGS = (".png", *sorted(SUFFIXES - {".png"}))


class MaskFiles:
    """Mask files of photos in some folders: NAME.png or NAME.EXT.png, below the photo's own folders or without them."""

    def __init__(self, frames: Sequence[SourceFrame], folders: Sequence[Path]):
        self._folders = folders
        self._shared = Counter(tail for frame in frames for tail in _tails(frame))

    def find(self, frame: SourceFrame) -> Path | None:
        """The first file that fits; one that would fit two photos alike fits neither."""
        whole = _name(frame).with_suffix("")
        for folder in self._folders:
            for tail in _tails(frame):
                if tail != whole and self._shared[tail] > 1:
                    continue
                for file in _files(folder / tail.parent, tail.name, _name(frame).name):
                    return file
        return None


def mask_folders(frames: Sequence[SourceFrame], root: Path) -> tuple[Path, ...]:
    """Where masks are looked for: below root, and beside the folder of photos where that is called images or so."""
    beside = []
    for frame in frames[:1]:
        path = next(iter(frame.paths.values()))
        folder = path.parents[min(len(_name(frame).parts), len(path.parents)) - 1]
        beside += [folder.parent] if folder.name.startswith("image") else []
    return tuple(dict.fromkeys(parent / name for parent in (root, *beside) for name in NAMES))


def unused_masks(frames: Sequence[SourceFrame], folders: Sequence[Path]) -> tuple[str, ...]:
    """A note on each folder of pictures, as none of them is a mask of these photos."""
    return tuple(
        f"masks: none, though {folder} has pictures: looked there for NAME.png and NAME.EXT.png, such as "
        f"{_name(frames[0]).with_suffix('.png')}"
        for folder in folders
        if any(path.suffix.lower() in SUFFIXES for path in folder.rglob("*"))
    )


def _name(frame: SourceFrame) -> PurePosixPath:
    return PurePosixPath(frame.listed or frame.name)


def _tails(frame: SourceFrame) -> list[PurePosixPath]:
    """The name without its ending, whole and less one folder after another."""
    whole = _name(frame).with_suffix("")
    return [PurePosixPath(*whole.parts[i:]) for i in range(len(whole.parts))]


def _files(folder: Path, stem: str, name: str) -> Iterator[Path]:
    for start in (stem, name):
        for ending in ENDINGS:
            for path in (folder / f"{start}{ending}", folder / f"{start}{ending.upper()}"):
                if path.is_file():
                    yield path
