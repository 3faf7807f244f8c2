"""The web page of a baked avatar: its cameras and motion in the head's own frame, where only rigid poses are known."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.bake import Basis, Playback, save_player
from gs_reg.geometry import transform_cameras
from gs_reg.types import Cameras

from .files import TrainedAvatar
from .motions import Motion, neutral_pose


def write_player(path: Path, avatar: TrainedAvatar, basis: Basis, motion: Motion | None) -> None:
    """A page with the capture's cameras, the most frontal one first, that plays the motion."""
    rest = neutral_pose(avatar).matrices()[0].double()
    track = None
    if motion is not None:
        track = Playback(motion.codes, motion.fps, from_rest(rest, motion.pose.matrices().double()))
    save_player(
        path, basis, head_cameras(avatar, rest), track, title=f"avatar of {avatar.folder.resolve().parent.name}"
    )


def head_cameras(avatar: TrainedAvatar, rest: Float[Tensor, "4 4"]) -> dict[str, Cameras]:
    """The capture's cameras around the head at rest, in its own frame and units; rigid, as the page's must be."""
    order = sorted(range(len(avatar.camera_names)), key=lambda row: row != avatar.frontal)
    moved = transform_cameras(rest.inverse().float(), avatar.cameras)
    return {avatar.camera_names[row]: moved[row] for row in order}


def from_rest(rest: Float[Tensor, "4 4"], poses: Float[Tensor, "T 4 4"]) -> Float[Tensor, "T 4 4"]:
    """How the head is turned and moved from rest, in its own frame; what its tracked size changes is left out."""
    moves = torch.linalg.inv(rest) @ poses
    size = torch.linalg.det(moves[:, :3, :3]) ** (1 / 3)
    turned = moves.clone()
    turned[:, :3, :3] /= size[:, None, None]
    return turned
