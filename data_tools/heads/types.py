"""A capture: synchronised multi-view video of one head, with masks, cameras, expression codes and head poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.priors.types import Track
from gs_reg.types import Cameras, Views

from .files import PictureFiles
from .pixels import Pixels

HELD_OUT_CAMERAS = ("222200046", "222200037", "222200039")
"""The novel views of the NeRSemble protocols."""


@dataclass(frozen=True)
class SequenceInfo:
    """One take of a capture."""

    name: str
    frames: range
    """Its frames among all frames of the capture."""

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class Capture:
    """All frames of all sequences in one row, seen by the same cameras; pixels are read when they are asked for."""

    folder: Path
    cameras: Cameras
    """In the world of the data set, one image size."""
    camera_names: tuple[str, ...]
    """Serials."""
    sequences: tuple[SequenceInfo, ...]
    tracks: Track
    """Expression codes and head poses of all frames."""
    ident: Float[Tensor, "I"] | None
    """Identity of the prior; None = its mean head."""
    prior: str
    """Name of the expression prior that the codes belong to."""
    held_out_sequences: tuple[str, ...]
    held_out_cameras: tuple[str, ...]
    pixels: Pixels = field(repr=False)
    notes: tuple[str, ...] = ()
    """What the reader left out or changed, one line each."""
    files: PictureFiles | None = field(default=None, repr=False)
    """That the pixels are read from; None where they are made in memory."""

    def __len__(self) -> int:
        """Frames."""
        return len(self.tracks.codes)

    @property
    def frame_names(self) -> tuple[str, ...]:
        return self.tracks.names

    def photo(self, frame: int, camera: int) -> UInt8[Tensor, "H W 3"]:
        """Display-referred sRGB. The tensor is shared with a cache: do not write into it."""
        return self.pixels.photo(frame, camera)

    def mask(self, frame: int, camera: int) -> UInt8[Tensor, "H W"]:
        """Alpha of the person, 0 to 255. The tensor is shared with a cache: do not write into it."""
        return self.pixels.mask(frame, camera)

    def views(self, frame: int, cameras: Sequence[int]) -> Views:
        """Photos and alphas of one frame, in the world of the data set."""
        rows = torch.as_tensor(list(cameras), dtype=torch.long)
        return Views(
            self.cameras[rows],
            torch.stack([self.photo(frame, c) for c in cameras]).float() / 255,
            tuple(f"{self.frame_names[frame]}/{self.camera_names[c]}" for c in cameras),
            alphas=torch.stack([self.mask(frame, c) for c in cameras]).float() / 255,
            frame=frame,
        )

    def sequence(self, name: str) -> SequenceInfo:
        """
        Raises:
            InputError: no such sequence.
        """
        for sequence in self.sequences:
            if sequence.name == name:
                return sequence
        raise InputError(f"{self.folder}: no sequence {name!r}: it has {', '.join(s.name for s in self.sequences)}")

    def frames_of(self, sequence: str) -> range:
        return self.sequence(sequence).frames

    def sequence_of(self, frame: int) -> SequenceInfo:
        """The sequence that a frame belongs to."""
        return next(s for s in self.sequences if frame in s.frames)

    def camera(self, name: str) -> int:
        """Row of a camera.

        Raises:
            InputError: no such camera.
        """
        if name not in self.camera_names:
            raise InputError(f"{self.folder}: no camera {name!r}: it has {', '.join(self.camera_names)}")
        return self.camera_names.index(name)

    @property
    def train_frames(self) -> tuple[int, ...]:
        return tuple(f for s in self.sequences if s.name not in self.held_out_sequences for f in s.frames)

    @property
    def test_frames(self) -> tuple[int, ...]:
        return tuple(f for s in self.sequences if s.name in self.held_out_sequences for f in s.frames)

    @property
    def train_cameras(self) -> tuple[int, ...]:
        return tuple(i for i, name in enumerate(self.camera_names) if name not in self.held_out_cameras)

    @property
    def test_cameras(self) -> tuple[int, ...]:
        return tuple(i for i, name in enumerate(self.camera_names) if name in self.held_out_cameras)
