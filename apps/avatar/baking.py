"""The bake of an avatar: a linear basis, its error on held-out codes, and a page that plays it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.bake import BakeConfig, Baked, bake, bake_error, sampled_codes, save_basis
from gs_reg.bake.bake import FEWEST
from gs_reg.bake.page import MOST_COLUMNS
from gs_reg.errors import InputError
from gs_reg.io.atomic import atomic_path
from gs_reg.render import lift, project
from gs_reg.types import Cameras

from ..runs.progress import say, stage_bar
from .files import TrainedAvatar
from .motions import Motion
from .player import write_player
from .protocols import evenly

FILE, ERROR, PAGE = "avatar.gsbasis", "bake.json", "player.html"
JUDGED = 24
"""Held-out frames that the error is measured on."""


def bake_avatar(avatar: TrainedAvatar, folder: Path, rank: int, count: int, motion: Motion | None) -> None:
    """Writes avatar.gsbasis, bake.json and the page that plays the motion, and says what the bake loses.

    Raises:
        InputError: more columns than a page can hold, or too few codes.
    """
    if count < FEWEST:
        raise InputError(f"--codes: expected at least {FEWEST} to learn from, got {count}")
    if not 1 <= rank <= MOST_COLUMNS:
        raise InputError(f"--rank: expected 1 to {MOST_COLUMNS} columns, got {rank}")
    codes = sampled_codes(avatar.track.codes[avatar.train_frames], count)
    model, neutral = avatar.model, avatar.details.neutral
    unit = avatar.details.unit_m
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad(), stage_bar("bake") as progress:
        basis = bake(
            model.deformed,
            codes,
            neutral,
            avatar.info.channels,
            unit,
            BakeConfig(rank=rank),
            visibility=visibility_of(avatar),
            progress=lambda done: progress(f"code {done} of {len(codes)}", done / len(codes)),
        )
    save_basis(folder / FILE, basis)
    frames = evenly(judged_frames(avatar), JUDGED)
    cameras, poses = avatar.cameras[avatar.frontal], model.poses.cpu()
    error = bake_error(
        Baked(basis), model.deformed, avatar.track.codes[list(frames)], lambda i: moved(cameras, poses[frames[i]]), unit
    )
    with atomic_path(folder / ERROR) as temporary:
        temporary.write_text(json.dumps({"rank": basis.rank, "codes": len(codes), **error.as_dict()}, indent=1) + "\n")
    say(error.words)
    write_player(folder / PAGE, avatar, basis, motion)
    for name in (FILE, PAGE):
        say(f"wrote {folder / name}: {(folder / name).stat().st_size / 1e6:.1f} MB")


def judged_frames(avatar: TrainedAvatar) -> list[int]:
    """Of held-out sequences, else of all."""
    sequences = avatar.details.sequences
    held = [f for name in avatar.details.held_out_sequences for f in sequences[name]]
    return held or list(range(len(avatar.track)))


def moved(cameras: Cameras, pose: Float[Tensor, "4 4"]) -> Cameras:
    """In the head's own frame."""
    return cameras.moved(pose.to(cameras.viewmats))


@torch.no_grad()
def visibility_of(avatar: TrainedAvatar, frames: int = 8) -> Float[Tensor, "N"]:
    """Largest blended weight of each Gaussian over some training frames and cameras."""
    model, cameras = avatar.model, avatar.cameras
    seen = torch.zeros(len(model.means))
    for frame in evenly(avatar.train_frames, frames):
        splats = model.deformed(model.code(frame))
        placed = moved(cameras, model.poses[frame].cpu()).to(splats.means.device)
        maps = splats.means.new_zeros(len(placed), placed.height, placed.width, 1)
        seen = torch.maximum(seen, lift(project(splats, placed), maps).largest.amax(0).cpu())
    return seen
