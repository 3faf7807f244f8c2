"""From ARKit coefficients to an avatar's codes."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from gs_reg.driving import Bridge, Landmarker, fit_bridge
from gs_reg.errors import InputError, MissingPart, reading
from gs_reg.io.atomic import atomic_path
from gs_reg.priors import ARKIT, arkit_matrix

from ..runs.progress import say
from .drawing import as_bytes, draw_posed
from .files import TrainedAvatar
from .protocols import evenly

BRIDGE = "bridge.safetensors"
BRIDGE_FRAMES = 300


def speaks_arkit(avatar: TrainedAvatar) -> bool:
    """Whether the avatar's codes follow from ARKit coefficients without a bridge."""
    return arkit_matrix(avatar.info.prior, avatar.info.channels) is not None


def codes_of(avatar: TrainedAvatar, arkit: Float[Tensor, "T 52"], task: Path | None) -> Float[Tensor, "T D"]:
    """By the prior where it speaks ARKit coefficients, else by a bridge that the avatar's own pictures teach.

    Raises:
        MissingPart: a bridge is needed, and MediaPipe's model is not given.
    """
    matrix = arkit_matrix(avatar.info.prior, avatar.info.channels)
    return bridge_of(avatar, task)(arkit) if matrix is None else arkit @ matrix


@torch.no_grad()
def bridge_of(avatar: TrainedAvatar, task: Path | None) -> Bridge:
    """Learned once, on pictures of the avatar at its training codes, and kept beside it.

    Raises:
        InputError: a face is found on too few of them.
        MissingPart: MediaPipe's model is not given.
    """
    path = avatar.folder / BRIDGE
    if path.is_file():
        with reading(path):
            bridge, dim = Bridge.of_tensors(load_file(path)), len(avatar.info.channels)
            sizes = len(bridge.regressor.mean), len(bridge.regressor.layers[-1][1])
            if sizes != (len(ARKIT), dim):
                raise InputError(
                    f"{path}: expected a bridge from {len(ARKIT)} coefficients to codes of {dim}, got {sizes}"
                )
        return bridge
    if task is None:
        raise MissingPart(
            f"prior {avatar.info.prior} does not speak ARKit coefficients: give MediaPipe's face_landmarker.task with "
            "--task, and a bridge is learned from the avatar's own pictures"
        )
    track, camera, pairs = avatar.track, avatar.cameras[avatar.frontal], []
    poses = track.pose.matrices()
    with Landmarker(task) as detect:
        for frame in evenly(avatar.train_frames, BRIDGE_FRAMES):
            picture = as_bytes(draw_posed(avatar.model, track.codes[frame], poses[frame], camera)[0])
            face = detect(picture)
            if face is not None:
                pairs.append((face.arkit, track.codes[frame]))
    if len(pairs) < 20:
        raise InputError(
            f"{avatar.folder}: a face is found on {len(pairs)} pictures of the avatar: too few for a bridge"
        )
    bridge = fit_bridge(torch.stack([a for a, _ in pairs]), torch.stack([z for _, z in pairs]))
    say(bridge.words)
    with atomic_path(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in bridge.tensors().items()}, temporary)
    return bridge
