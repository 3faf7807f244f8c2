"""Which file is the mask of which photo: by the photo's whole name, or by its end where no other photo has it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from gs_reg.errors import InputError

from ..readers.types import SourceFrame
from .images import SUFFIXES
from .names import PhotoFiles

NAMES = ("masks", "mask")
"""Folders that are looked into unasked."""
_LOWER = (".png", *sorted(SUFFIXES - {".png"}))
ENDINGS = tuple(form for ending in _LOWER for form in (ending, ending.upper()))


class MaskFiles:
    """Mask files of photos in some folders: NAME.png or NAME.EXT.png, below the photo's own folders or without them."""

    def __init__(self, frames: Sequence[SourceFrame], folders: Sequence[Path]):
        self._folders = folders
        self._files = PhotoFiles({frame.name: frame.listed or frame.name for frame in frames})

    def find(self, frame: SourceFrame) -> Path | None:
        """The first file that fits.

        Raises:
            InputError: one that would fit two photos alike.
        """
        try:
            return next((f for folder in self._folders for f in self._files.find(frame.name, folder, ENDINGS)), None)
        except InputError as error:
            raise InputError(f"{error}; or use --masks none") from None


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


def left_over(frames: Sequence[SourceFrame], folders: Sequence[Path], used: Collection[Path]) -> tuple[str, ...]:
    """A note on each folder with pictures that are neither a photo nor the mask of one, which names the first three."""
    known = {path for frame in frames for path in frame.paths.values()}.union(used)
    notes = []
    for folder in folders:
        pictures = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        names = [str(path.relative_to(folder)) for path in pictures if path not in known]
        if names:
            named = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            notes.append(f"warning: masks that fit no photo in {folder}: {named}: call them NAME.png or NAME.EXT.png")
    return tuple(notes)


def _name(frame: SourceFrame) -> PurePosixPath:
    return PurePosixPath(frame.listed or frame.name)
