"""`gs-reg avatar export`: files for other programs: a posed .ply, a sequence of them, a linear-basis bake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from gs_reg.errors import InputError
from gs_reg.io import save_splats
from gs_reg.io.posed import plain_splats, save_sequence
from gs_reg.types import Splats

from ..runs.devices import pick_device
from ..runs.progress import say, stage_bar
from .baking import bake_avatar
from .driven_by import HELD_OUT, Reading
from .files import TrainedAvatar, open_avatar
from .motions import Motion, motion_of

Format = Literal["ply", "sequence", "bake"]
OF_A_SOURCE = {"source", *(field.name for field in fields(Reading))}
"""Flags that say nothing about the neutral face."""


@dataclass(frozen=True)
class Config(Reading):
    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="AVATAR")] = ""
    """Folder of a training run, or of an avatar's files."""
    format: Format = "ply"
    """ply: one expression; sequence: a .ply a frame; bake: avatar.gsbasis for players without networks, with a web page
    that opens from disk, and its error."""
    out: Path | None = None
    """File or folder to write; default below <avatar>/../exports."""
    source: str = HELD_OUT
    """What the frames do and the page of a bake plays, as for `avatar drive`."""
    frame: int | None = None
    """ply: a frame of the source; default the neutral face, in the head's own frame."""
    suffix: Literal[".ply", ".spz"] = ".ply"
    """Of the files of a sequence."""
    rank: int = 20
    """bake: columns; more cost memory and time and lower the error."""
    codes: int = 600
    """bake: codes that it is made from."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto = cuda where it is usable."""


def main(config: Config) -> int:
    if not config.run:
        raise InputError("no avatar named: expected the folder of a run of `gs-reg avatar train`")
    avatar = open_avatar(Path(config.run), pick_device(config.device))
    if avatar.model.screen is not None:
        say("  the avatar has a network in screen space, which exports are without")
    out = config.out or avatar.folder.parent / "exports" / {"ply": "avatar.ply"}.get(config.format, config.format)
    if config.format == "bake":
        bake_avatar(avatar, out, config.rank, config.codes, played(avatar, config))
        return 0
    if config.format == "ply" and config.frame is None:
        if given := [f.name for f in fields(Config) if f.name in OF_A_SOURCE and getattr(config, f.name) != f.default]:
            raise InputError(
                f"--{given[0]} without --frame: a .ply is one face: say which with --frame, or --format sequence"
            )
        write_neutral(avatar, out)
        return 0
    motion = motion_of(avatar, config.source, config)
    if config.format == "ply":
        frame = config.frame
        if frame is None or not 0 <= frame < len(motion):
            raise InputError(f"--frame: expected 0 to {len(motion) - 1}, the frames of {motion.words}, got {frame}")
        out.parent.mkdir(parents=True, exist_ok=True)
        save_splats(out, plain_splats(next(posed(avatar, motion, range(frame, frame + 1)))))
        say(f"wrote {out}: {len(avatar.model.means):,} Gaussians in the capture's world")
        return 0
    with stage_bar("sequence") as progress:
        files = save_sequence(out, posed(avatar, motion, range(len(motion)), progress), suffix=config.suffix)
    say(f"wrote {len(files)} files {files[0].name} to {files[-1].name} into {out}: in the capture's world")
    return 0


def played(avatar: TrainedAvatar, config: Config) -> Motion | None:
    """What the page of a bake plays; nothing where no sequence is held out and no source is named."""
    if config.source == HELD_OUT and not avatar.details.held_out_sequences:
        say("  no sequence is held out: the page has sliders alone; name one with --source to have it played")
        return None
    return motion_of(avatar, config.source, config)


def write_neutral(avatar: TrainedAvatar, out: Path) -> None:
    """The neutral face in the head's own frame, in metres."""
    neutral = avatar.details.neutral
    pose = torch.eye(4)
    pose[:3, :3] *= avatar.details.unit_m
    with torch.no_grad():
        splats = avatar.model.posed(neutral.to(avatar.model.means), pose.to(avatar.model.means))
    out.parent.mkdir(parents=True, exist_ok=True)
    save_splats(out, plain_splats(splats.detach().to("cpu")))
    say(f"wrote {out}: {len(splats):,} Gaussians, neutral, in metres; x to the subject's left, y up, z out of the face")


def posed(
    avatar: TrainedAvatar, motion: Motion, frames: range, progress=lambda _what, _share: None
) -> Iterator[Splats]:
    """Clouds in the capture's world."""
    poses = motion.pose.matrices()
    for number, frame in enumerate(frames):
        progress(f"frame {number + 1}/{len(frames)}", number / len(frames))
        with torch.no_grad():
            splats = avatar.model.posed(motion.codes[frame].to(avatar.model.means), poses[frame].to(avatar.model.means))
        yield splats.detach().to("cpu")
