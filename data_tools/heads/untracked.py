"""A capture in NeRSemble's layout that no tracker has seen yet: photos and cameras, no codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.types import Cameras

from .assemble import ReadOptions, placed_cameras, unpacked, wanted
from .colors import read_color_matrices
from .files import Picture, PictureFiles
from .nersemble import NO_TAKES, PARAMS, WITHOUT_CAMERA, find, pictures_of, read_cameras


@dataclass(frozen=True)
class Take:
    """A sequence without codes."""

    name: str
    folder: Path
    numbers: tuple[int, ...]
    """Of the frames that all cameras have."""
    rows: range
    """Its frames among all frames."""


@dataclass(frozen=True)
class Untracked:
    folder: Path
    cameras: Cameras
    camera_names: tuple[str, ...]
    takes: tuple[Take, ...]
    files: PictureFiles

    def __len__(self) -> int:
        return self.takes[-1].rows.stop

    def photo(self, frame: int, camera: int) -> UInt8[Tensor, "H W 3"]:
        return self.files.photo(frame, camera)

    def name_of(self, frame: int) -> str:
        take = next(take for take in self.takes if frame in take.rows)
        return f"{take.name}/{take.numbers[frame - take.rows.start]:05d}"


def read_untracked(root: Path, options: ReadOptions = ReadOptions()) -> Untracked:
    """
    Raises:
        InputError: no capture of this layout, or cameras whose frames do not fit together.
    """
    person = find(root, options.participant)
    if person is None:
        raise InputError(f"{root}: no calibration/{PARAMS}: expected a capture in NeRSemble's layout")
    cameras = read_cameras(person.params)
    chosen = wanted([camera.name for camera in cameras], options.cameras, "camera", person.params)
    cameras = [camera for camera in cameras if camera.name in chosen]
    names = sorted(p.name for p in person.sequences.glob("*") if (p / "images").is_dir() and p.name not in NO_TAKES)
    takes: list[Take] = []
    photos: list[Sequence[Picture]] = []
    for name in wanted(names, options.sequences, "sequence", person.sequences):
        folder = person.sequences / name
        found = [pictures_of(folder / "images", camera) for camera in chosen]
        numbers = tuple(_common(folder, chosen, found)[:: options.every])
        takes.append(Take(name, folder, numbers, range(len(photos), len(photos) + len(numbers))))
        photos += [[pictures[number] for pictures in found] for number in numbers]
    if not takes:
        raise InputError(f"{person.sequences}: no sequence: expected SEQUENCE/images/")
    placed, width, height = placed_cameras(cameras, photos[0], options.width)
    colors = read_color_matrices(person.colors, chosen) if options.color else {}
    files = PictureFiles(photos, photos, width, height, unpacked(options, width), colors)
    return Untracked(person.folder, placed, tuple(chosen), tuple(takes), files)


def _common(folder: Path, cameras: Sequence[str], found: Sequence[Mapping[int, Picture]]) -> list[int]:
    numbers = sorted(set().union(*found))
    for camera, pictures in zip(cameras, found, strict=True):
        lost = [number for number in numbers if number not in pictures]
        if lost:
            raise InputError(
                f"{folder}: camera {camera}: {len(pictures)} photos for {len(numbers)} frames; the first that is "
                f"missing is {lost[0]}: copy them again, or {WITHOUT_CAMERA}"
            )
    return numbers
