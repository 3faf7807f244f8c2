"""BVH motion: the turns of head, jaw and eyes, with an expression from a table beside it."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.driving.csv import Table
from gs_reg.driving.gaze import with_gaze
from gs_reg.driving.types import INDEX, Drive, check_rate, head_angles
from gs_reg.errors import InputError, reading
from gs_reg.priors import HeadPose

log = logging.getLogger(__name__)

JOINTS: Mapping[str, tuple[str, ...]] = {
    "head": ("head", "headnub", "bip01head", "ccbasehead", "skullbase"),
    "neck": ("neck", "neck1", "bip01neck", "ccbasenecktwist01"),
    "jaw": ("jaw", "jawroot", "ccbasejawroot", "lowerjaw", "mandible"),
    "left_eye": ("lefteye", "eyeleft", "leye", "eyel", "ccbaseleye"),
    "right_eye": ("righteye", "eyeright", "reye", "eyer", "ccbasereye"),
}
"""Names of joints by what they are for, in lower case and of letters and digits alone, the first found first."""
JAW = math.radians(25)
"""Turn of the jaw at `jawOpen` = 1."""
_PREFIX = re.compile(r"^.*[:|]")


@dataclass(frozen=True)
class Joint:
    name: str
    parent: int
    """-1 of a root."""
    channels: tuple[str, ...]
    first: int
    """Column of its first channel."""


@dataclass(frozen=True)
class Motion:
    """A skeleton and the channels of its joints over time, in degrees and the file's units."""

    joints: tuple[Joint, ...]
    values: Float[np.ndarray, "T C"]
    fps: float

    def local(self, index: int) -> Float[Tensor, "T 3 3"]:
        """A joint's own turn: one factor a channel, in the order of the file."""
        joint = self.joints[index]
        out = torch.eye(3, dtype=torch.float64).repeat(len(self.values), 1, 1)
        for k, channel in enumerate(joint.channels):
            if channel.lower().endswith("rotation"):
                degrees = torch.from_numpy(self.values[:, joint.first + k].copy())
                out = out @ _about("xyz".index(channel[0].lower()), degrees.deg2rad())
        return out

    def world(self, index: int) -> Float[Tensor, "T 3 3"]:
        """The turn of a joint and all above it."""
        parent = self.joints[index].parent
        return self.local(index) if parent < 0 else self.world(parent) @ self.local(index)


def _about(axis: int, angle: Float[Tensor, "T"]) -> Float[Tensor, "T 3 3"]:
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out = torch.eye(3, dtype=angle.dtype).repeat(len(angle), 1, 1)
    out[:, i, i] = out[:, j, j] = angle.cos()
    out[:, j, i] = angle.sin()
    out[:, i, j] = -angle.sin()
    return out


def read_bvh(
    path: str | Path,
    expression: Table | Drive | None = None,
    joints: Mapping[str, tuple[str, ...]] = JOINTS,
    fps: float | None = None,
) -> Drive:
    """Head pose from the joints of the head and all above it; jaw and eyes become coefficients.

    `expression` is matched by time from its first frame on and held at its end; what it says of jaw and eyes wins.
    The file's y is up and its figure faces +z, as is usual. Only turns are read, no moves.

    Raises:
        InputError: broken, or no joint of a head (or neck) by the names in `joints`.
    """
    motion = read_motion(path)
    found = _found(motion, joints)
    head = found.get("head", found.get("neck"))
    if head is None:
        names = ", ".join(joint.name for joint in motion.joints[:12])
        raise InputError(f"{path}: expected a joint named like {', '.join(joints['head'][:3])}, got {names}")
    T = len(motion.values)
    pose = HeadPose(motion.world(head).float(), torch.zeros(T, 3), torch.ones(T))
    table = expression if isinstance(expression, Table) else None
    other = table.drive if table is not None else expression
    arkit, seen = torch.zeros(T, 52), None
    if isinstance(other, Drive):
        if other.arkit is None:
            raise InputError(f"{path}: expected an expression of ARKit coefficients beside it, got codes")
        positions = torch.arange(T, dtype=torch.float64) / motion.fps * other.fps
        if abs(len(other) / other.fps - T / motion.fps) > 0.5:
            log.warning("%s: %.1f s of motion, %.1f s of expression", path, T / motion.fps, len(other) / other.fps)
        matched = other.at(positions, motion.fps)
        assert matched.arkit is not None
        arkit, seen = matched.arkit, matched.seen
    # a Drive alone says nothing of its columns: all of them count as given
    given = set(table.channels) if table is not None else set(INDEX) if other is not None else set()
    if "jaw" in found and "jawOpen" not in given:
        arkit[:, INDEX["jawOpen"]] = (_pitch(motion, found["jaw"]) / JAW).clamp(0, 1)
    looks = given and (table is None or table.has_eyes)
    if "left_eye" in found and "right_eye" in found and not looks:
        turns = [head_angles(motion.local(found[side]).float()) for side in ("left_eye", "right_eye")]
        angles = torch.stack([torch.stack([turn[:, 0], -turn[:, 1]], -1) for turn in turns], 1)
        arkit = with_gaze(arkit, angles)
    drive = Drive(arkit, pose, motion.fps, seen=seen)
    return drive if fps is None else drive.resampled(fps)


def _pitch(motion: Motion, index: int) -> Float[Tensor, "T"]:
    """Downwards, in radians."""
    return head_angles(motion.local(index))[:, 1].float()


def _found(motion: Motion, joints: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    plain = [re.sub(r"[^a-z0-9]", "", _PREFIX.sub("", joint.name).lower()) for joint in motion.joints]
    plain = [name.removeprefix("mixamorig") for name in plain]
    out = {}
    for role, names in joints.items():
        place = next((plain.index(name) for name in names if name in plain), None)
        if place is not None:
            out[role] = place
    return out


def read_motion(path: str | Path) -> Motion:
    """The skeleton and the frames of a file.

    Raises:
        InputError: no BVH, broken, fewer numbers than it promises, or no rate that a motion has.
    """
    path = Path(path)
    with reading(path):
        words = path.read_text(encoding="utf-8-sig").split()
    if not words or words[0].upper() != "HIERARCHY" or "MOTION" not in words:
        raise InputError(f"{path}: expected a BVH file (HIERARCHY, then MOTION), got something else")
    split = words.index("MOTION")
    with reading(path):
        joints = _hierarchy(words[1:split])
        # MOTION Frames: n Frame Time: seconds numbers
        count, seconds = int(words[split + 2]), float(words[split + 5])
        values = np.array(words[split + 6 :], np.float64)
    width = sum(len(joint.channels) for joint in joints)
    if count < 1 or not seconds > 0 or len(values) != count * width or not np.isfinite(values).all():
        raise InputError(
            f"{path}: expected {count} frames of {width} finite numbers every {seconds:g} s, got {len(values)} numbers"
        )
    fps = 1 / seconds
    check_rate(fps, f"{path}: Frame Time")
    return Motion(joints, values.reshape(count, width), fps)


def _hierarchy(words: list[str]) -> tuple[Joint, ...]:
    joints: list[Joint] = []
    above: list[int] = []
    column, at = 0, 0
    while at < len(words):
        word = words[at].upper()
        if word in ("ROOT", "JOINT"):
            stop = words.index("{", at)
            joints.append(Joint(" ".join(words[at + 1 : stop]), above[-1] if above else -1, (), column))
            above.append(len(joints) - 1)
            at = stop + 1
        elif word == "END":  # End Site { OFFSET x y z }
            at = words.index("}", at) + 1
        elif word == "CHANNELS":
            count = int(words[at + 1])
            last = joints[above[-1]]
            joints[above[-1]] = Joint(last.name, last.parent, tuple(words[at + 2 : at + 2 + count]), column)
            column, at = column + count, at + 2 + count
        elif word == "}":
            above.pop()
            at += 1
        elif word == "OFFSET":
            at += 4
        else:
            raise ValueError(f"unexpected word {words[at][:20]!a} in the hierarchy")
    return tuple(joints)
