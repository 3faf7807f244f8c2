"""Codes and head poses of one sequence, as trackers write them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.priors.types import HeadPose, Track

from ..arrays import read_arrays

CODES = "codes.npz"
FLAME = "tracking/flame*_tracking*.npz"


@dataclass(frozen=True)
class SequenceTrack:
    """One sequence's part of a Track."""

    source: Path
    """For messages."""
    prior: str
    codes: Float32[ndarray, "T dim"]
    rotation: Float[ndarray, "T 3 3"]
    translation: Float[ndarray, "T 3"]
    scale: Float[ndarray, "T"]
    ident: Float32[ndarray, "I"] | None
    arkit: Float32[ndarray, "T 52"] | None
    frames: tuple[int, ...] | None = None
    """Numbers of the video's frames; None = all, in order."""

    def rows(self, index: list[int]) -> SequenceTrack:
        arkit = None if self.arkit is None else self.arkit[index]
        parts = (self.codes[index], self.rotation[index], self.translation[index], self.scale[index])
        frames = None if self.frames is None else tuple(self.frames[i] for i in index)
        return SequenceTrack(self.source, self.prior, *parts, self.ident, arkit, frames)


def read_track(folder: Path) -> SequenceTrack:
    """Of a sequence's folder: codes.npz, else NeRSemble's FLAME tracking.

    Raises:
        InputError: neither is there, or what is there is broken, of a wrong size, or not finite.
    """
    if (folder / CODES).is_file():
        return read_codes(folder / CODES)
    found = sorted(folder.glob(FLAME))
    if found:
        return read_flame(found[-1])
    raise InputError(f"{folder}: no codes of a tracker: expected {CODES} or {FLAME}")


def read_codes(path: Path) -> SequenceTrack:
    """Ours: z [T, dim], head_pose [T, 4, 4] (world from head, metres, of any uniform scale), prior, ident, arkit."""
    arrays = read_arrays(path)
    codes = _array(arrays, path, "z", (None, None))
    frames = len(codes)
    pose = _array(arrays, path, "head_pose", (frames, 4, 4)).astype(np.float64)
    scale = np.cbrt(np.maximum(np.linalg.det(pose[:, :3, :3]), 0))
    if not (scale > 1e-6).all():
        raise InputError(f"{path}: head_pose of frame {int(np.argmin(scale))} is no similarity: expected s R and t")
    rotation = pose[:, :3, :3] / scale[:, None, None]
    away = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max((1, 2))
    if not (away < 1e-2).all():
        raise InputError(f"{path}: head_pose of frame {int(np.argmax(away))} is no similarity: expected s R and t")
    if "prior" not in arrays or arrays["prior"].ndim:
        raise InputError(f"{path}: prior is missing: expected the name of the prior that the codes belong to")
    ident = _array(arrays, path, "ident", (None,)).astype(np.float32) if "ident" in arrays else None
    arkit = _array(arrays, path, "arkit", (frames, 52)).astype(np.float32) if "arkit" in arrays else None
    return SequenceTrack(
        path,
        str(arrays["prior"]),
        codes.astype(np.float32),
        rotation,
        pose[:, :3, 3],
        scale,
        ident,
        arkit,
    )


def read_flame(path: Path) -> SequenceTrack:
    """NeRSemble's tracking: expression 100, jaw 3, eyes 6, neck 3; the pose (Euler XYZ) is applied outside of FLAME."""
    from scipy.spatial.transform import Rotation

    arrays = read_arrays(path)
    expression = _array(arrays, path, "expression", (None, 100))
    count = len(expression)
    parts = [expression] + [_array(arrays, path, k, (count, n)) for k, n in (("jaw", 3), ("eyes", 6), ("neck", 3))]
    euler = _array(arrays, path, "rotation", (count, 3))
    scale = np.broadcast_to(_array(arrays, path, "scale", (1, 1))[0], count).astype(np.float64)
    numbers = _array(arrays, path, "frames", (count,)) if "frames" in arrays else np.arange(count)
    return SequenceTrack(
        path,
        path.name.split("_")[0],
        np.concatenate(parts, axis=1).astype(np.float32),
        Rotation.from_euler("XYZ", euler).as_matrix(),
        _array(arrays, path, "translation", (count, 3)).astype(np.float64),
        scale,
        _array(arrays, path, "shape", (1, 300))[0].astype(np.float32),
        None,
        tuple(numbers.astype(int).tolist()),
    )


def _array(arrays: dict[str, ndarray], path: Path, key: str, shape: tuple[int | None, ...]) -> ndarray:
    if key not in arrays:
        raise InputError(f"{path}: {key} is missing: expected {', '.join(map(_side, shape))} numbers")
    value = arrays[key]
    fits = value.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, value.shape, strict=True))
    if not fits or not value.size or value.dtype.kind not in "fiu":
        expected = ", ".join(map(_side, shape))
        raise InputError(f"{path}: {key}: got {list(value.shape)} {value.dtype}: expected [{expected}] numbers")
    bad = ~np.isfinite(value.reshape(len(value), -1)).all(1)
    if bad.any():
        raise InputError(f"{path}: {key} of frame {int(np.argmax(bad))} is not finite: track the sequence again")
    return value


def _side(side: int | None) -> str:
    return "n" if side is None else str(side)


def joined(tracks: dict[str, SequenceTrack], frame_names: list[str]) -> tuple[Track, Float[Tensor, "I"] | None]:
    """All sequences of one person in one row.

    Raises:
        InputError: codes of several priors, sizes or persons, or codes that never change.
    """
    parts = list(tracks.values())
    first = parts[0]
    for part in parts[1:]:
        if part.prior != first.prior or part.codes.shape[1] != first.codes.shape[1]:
            mine, other = (f"{t.codes.shape[1]} numbers of {t.prior}" for t in (part, first))
            raise InputError(f"{part.source}: codes of {mine}, but {other} in {first.source}: track all alike")
        if not _same_person(part.ident, first.ident):
            raise InputError(f"{part.source}: another identity than in {first.source}: expected one person")
    codes = np.concatenate([part.codes for part in parts])
    if len(codes) > 1 and not np.ptp(codes, axis=0).any():
        raise InputError(f"{first.source}: the same code in all {len(codes)} frames: expected expressions that change")
    arkits = [part.arkit for part in parts if part.arkit is not None]
    arkit = torch.from_numpy(np.concatenate(arkits)) if len(arkits) == len(parts) else None
    rotation, translation, scale = (
        torch.from_numpy(np.concatenate([getattr(part, key) for part in parts])).float()
        for key in ("rotation", "translation", "scale")
    )
    pose = HeadPose(rotation, translation, scale)
    track = Track(torch.from_numpy(codes), pose, first.prior, tuple(frame_names), arkit)
    return track, None if first.ident is None else torch.from_numpy(first.ident)


def _same_person(a: ndarray | None, b: ndarray | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.shape == b.shape and bool(np.allclose(a, b, atol=1e-3))
