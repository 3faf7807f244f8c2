"""What an avatar's header says of its capture: cameras, sequences, frames; checked as it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.types import Cameras

LARGEST = 1 << 15
"""Pixels of a side."""


@dataclass(frozen=True)
class Details:
    """What the header says beside the model: of the capture and of the prior."""

    unit_m: float
    neutral: Float[Tensor, "D"]
    frame_names: tuple[str, ...]
    sequences: dict[str, range]
    """Frames by name of sequence."""
    train_frames: list[int]
    held_out_sequences: tuple[str, ...]
    cameras: Cameras
    """In the capture's world."""
    camera_names: tuple[str, ...]
    frontal: int
    """Row of the camera that the head looks at most."""

    @staticmethod
    def of(content: Mapping[str, Any], frames: int, dim: int) -> Details:
        """Raises KeyError, TypeError or ValueError where they are not those of an avatar of so many frames."""
        seen = content["cameras"]
        viewmats, Ks = (torch.tensor(seen[name], dtype=torch.float64).float() for name in ("viewmats", "Ks"))
        width, height = map(int, seen["size"])
        made = Details(
            float(content["unit_m"]),
            torch.tensor(content["neutral"], dtype=torch.float32),
            tuple(map(str, content["frame_names"])),
            {str(name): range(*map(int, ends)) for name, ends in content["sequences"].items()},
            list(map(int, content["train_frames"])),
            tuple(map(str, content["held_out_sequences"])),
            Cameras(viewmats, Ks, width, height),
            tuple(map(str, seen["names"])),
            int(seen["frontal"]),
        )
        made._check(frames, dim)
        return made

    def _check(self, frames: int, dim: int) -> None:
        rules = {
            "unit_m": math.isfinite(self.unit_m) and self.unit_m > 0,
            "neutral": self.neutral.shape == (dim,) and bool(self.neutral.isfinite().all()),
            "frame_names": len(self.frame_names) == frames,
            "sequences": all(0 <= ends.start < ends.stop <= frames for ends in self.sequences.values()),
            "train_frames": bool(self.train_frames) and all(0 <= frame < frames for frame in self.train_frames),
            "held_out_sequences": self.sequences.keys() >= set(self.held_out_sequences),
            "cameras": self._cameras_fit(),
        }
        for name, holds in rules.items():
            if not holds:
                raise ValueError(f"{name}: not of this avatar's {frames} frames, codes of {dim} and cameras")

    def _cameras_fit(self) -> bool:
        count, seen, sides = len(self.camera_names), self.cameras, (self.cameras.width, self.cameras.height)
        if not 0 <= self.frontal < count or not 0 < min(sides) <= max(sides) <= LARGEST:
            return False
        if seen.viewmats.shape != (count, 4, 4) or seen.Ks.shape != (count, 3, 3):
            return False
        finite = bool(seen.viewmats.isfinite().all() & seen.Ks.isfinite().all())
        invertible = bool((torch.linalg.det(seen.viewmats).abs() > 1e-6).all())
        return finite and invertible and bool((seen.Ks.diagonal(dim1=1, dim2=2)[:, :2] > 0).all())
