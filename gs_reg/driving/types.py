"""What drives an avatar: expression and head pose of T frames, from whatever source."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.priors import ARKIT, HeadPose
from gs_reg.rotations import quat_to_rotmat, rotmat_to_quat
from gs_reg.tensor_dataclass import TensorDataclass

INDEX = {name: i for i, name in enumerate(ARKIT)}
"""Place of each ARKit coefficient in a row of 52."""

SNAP = 1e-3
"""Frames: times of files are rounded, and a position so near to a frame is that frame."""
LEAST_FPS, MOST_FPS = 0.1, 1000
"""Below it times are in another unit, and videos cannot be written."""
MOST_FRAMES = 500_000
"""Four hours and a half at 30 a second; more are a wrong unit of time, and would fill the memory."""


def check_rate(fps: float, place: str) -> None:
    """Raises InputError, with its text beginning with `place`, where no motion has so many frames a second."""
    if not LEAST_FPS <= fps <= MOST_FPS:
        raise InputError(f"{place}: expected {LEAST_FPS} to {MOST_FPS} frames a second, got {fps:g}")


def check_count(seconds: float, fps: float, place: str) -> None:
    """Raises InputError, with its text beginning with `place`, where a motion of this length has too many frames."""
    if not seconds * fps <= MOST_FRAMES:
        raise InputError(f"{place}: expected at most {MOST_FRAMES:,} frames, got {seconds:g} s with {fps:g} a second")


@dataclass(frozen=True)
class Drive(TensorDataclass):
    """T frames at even times."""

    arkit: Float[Tensor, "T 52"] | None
    """Coefficients in the order of priors.ARKIT; None where the source speaks an avatar's own codes."""
    pose: HeadPose
    """In the source's world: turns and moves count from the source's neutral frame."""
    fps: float
    codes: Float[Tensor, "T dim"] | None = None
    """Of a source in the code space of the avatar's prior."""
    seen: Bool[Tensor, "T"] | None = None
    """False for frames whose values are filled in from their neighbours; None = the source saw all."""

    def __len__(self) -> int:
        return len(self.pose)

    def marked(self, seen: Bool[Tensor, "T"]) -> Drive:
        """The same values, with another word on which frames the source saw."""
        return Drive(self.arkit, self.pose, self.fps, self.codes, None if bool(seen.all()) else seen)

    def resampled(self, fps: float) -> Drive:
        """The same motion at another rate, linear between frames; rotations along the shorter arc.

        Raises:
            InputError: no rate that a motion has, or too many frames.
        """
        check_rate(fps, "fps")
        check_count((len(self) - 1) / self.fps, fps, "fps")
        count = int((len(self) - 1) / self.fps * fps + SNAP) + 1
        times = torch.arange(count, dtype=torch.float64) * self.fps / fps
        return self.at(times, fps)

    def at(self, positions: Float[Tensor, "S"], fps: float) -> Drive:
        """The motion at positions counted in frames, held at its ends."""
        near = positions.round()
        positions = torch.where((positions - near).abs() < SNAP, near, positions).clamp(0, len(self) - 1)
        low = positions.floor().long().clamp_max(max(len(self) - 2, 0))
        high = (low + 1).clamp_max(len(self) - 1)
        share = (positions - low).to(torch.float32)

        def mixed(values: Tensor) -> Tensor:
            t = share.reshape(-1, *[1] * (values.ndim - 1)).to(values)
            return values[low] + t * (values[high] - values[low])

        pose = HeadPose(
            slerp(self.pose.rotation[low], self.pose.rotation[high], share),
            mixed(self.pose.translation),
            mixed(self.pose.scale),
            self.pose.unit_m,
        )
        # a frame between a seen one and one that is not was not seen
        seen = None if self.seen is None else (self.seen[low] | (share == 1)) & (self.seen[high] | (share == 0))
        arkit, codes = (None if values is None else mixed(values) for values in (self.arkit, self.codes))
        return Drive(arkit, pose, fps, codes, seen)


def slerp(a: Float[Tensor, "T 3 3"], b: Float[Tensor, "T 3 3"], share: Float[Tensor, "T"]) -> Float[Tensor, "T 3 3"]:
    """Rotations between a and b along the shorter arc."""
    qa, qb = rotmat_to_quat(a.double()), rotmat_to_quat(b.double())
    dot = (qa * qb).sum(-1, keepdim=True)
    qb = torch.where(dot < 0, -qb, qb)
    angle = dot.abs().clamp_max(1).acos()
    t = share.double()[:, None]
    near = angle < 1e-6  # the weights of a line, where the sine vanishes
    sine = torch.where(near, 1.0, angle.sin())
    wa = torch.where(near, 1 - t, ((1 - t) * angle).sin() / sine)
    wb = torch.where(near, t, (t * angle).sin() / sine)
    return quat_to_rotmat(F.normalize(wa * qa + wb * qb, dim=-1)).to(a)


def head_rotation(
    yaw: Float[Tensor, "*B"], pitch: Float[Tensor, "*B"], roll: Float[Tensor, "*B"]
) -> Float[Tensor, "*B 3 3"]:
    """Ry Rx Rz of radians: yaw turns the nose to the subject's left, pitch lowers it, roll tilts the head
    counter-clockwise as the viewer sees it."""
    one, zero = torch.ones_like(yaw), torch.zeros_like(yaw)

    def matrix(rows: list[list[Tensor]]) -> Tensor:
        return torch.stack([torch.stack(row, -1) for row in rows], -2)

    (cy, cp, cr), (sy, sp, sr) = ([f(a) for a in (yaw, pitch, roll)] for f in (torch.cos, torch.sin))
    ry = matrix([[cy, zero, sy], [zero, one, zero], [-sy, zero, cy]])
    rx = matrix([[one, zero, zero], [zero, cp, -sp], [zero, sp, cp]])
    rz = matrix([[cr, -sr, zero], [sr, cr, zero], [zero, zero, one]])
    return ry @ rx @ rz


def head_angles(rotation: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 3"]:
    """Yaw, pitch and roll in radians, of which head_rotation makes the rotation."""
    yaw = torch.atan2(rotation[..., 0, 2], rotation[..., 2, 2])
    pitch = torch.asin((-rotation[..., 1, 2]).clamp(-1, 1))
    roll = torch.atan2(rotation[..., 1, 0], rotation[..., 1, 1])
    return torch.stack([yaw, pitch, roll], dim=-1)


def filled(arkit: Float[Tensor, "S 52"], pose: HeadPose, seen: Bool[Tensor, "T"], fps: float) -> Drive:
    """A drive of T frames from those S that were seen: others lie between their neighbours in time.

    Raises:
        ValueError: no frame was seen.
    """
    where = seen.nonzero()[:, 0].double()
    if not len(where):
        raise ValueError("seen: expected at least one frame with a face, got none")
    times = torch.arange(len(seen), dtype=torch.float64)
    after = torch.searchsorted(where, times).clamp(1, max(len(where) - 1, 1))
    before = after - 1
    after = after.clamp_max(len(where) - 1)
    span = where[after] - where[before]
    share = torch.where(span > 0, (times - where[before]) / span.clamp_min(1), torch.zeros_like(times)).clamp(0, 1)
    return Drive(arkit, pose, fps).at(before + share, fps).marked(seen)
