"""`gs-reg avatar drive`: a video of an avatar, driven by codes, by a person in a video, or by a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from gs_reg.driving.video import video_frames
from gs_reg.errors import InputError
from gs_reg.types import Cameras

from ..look.video import check_name, write_video
from ..runs.devices import pick_device
from ..runs.outputs import check_writable
from ..runs.progress import counted, say, stage_bar
from .drawing import driven_frames
from .driven_by import HELD_OUT, VIDEOS, Reading
from .files import TrainedAvatar, open_avatar
from .motions import Motion, motion_of, write_motion

INSET = 0.28
"""Of the height: a driving video that is shown in a corner."""


@dataclass(frozen=True)
class Config(Reading):
    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="AVATAR")] = ""
    """Folder of a training run, or of an avatar's files."""
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")] = HELD_OUT
    """What drives it: held-out or a sequence of its own capture; a folder of another avatar or capture; a .csv of ARKit
    coefficients; a .bvh; a video of a face (with --task); the .json beside a driven video."""
    out: Path | None = None
    """Video to write; default <avatar>/../videos/<source>.mp4."""
    camera: str = "frontal"
    """A camera of the capture by name, frontal, or orbit: an arc around the face."""
    scale: float = 1.0
    """Size of the pictures over that of the photos."""
    inset: bool = True
    """Show a driving video in the corner."""
    screen: bool = True
    """Use the network in screen space, where the avatar has one."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto = cuda where it is usable."""


def main(config: Config) -> int:
    if not config.run:
        raise InputError("no avatar named: expected the folder of a run of `gs-reg avatar train`")
    if config.out is not None:
        check_name(config.out)
    avatar = open_avatar(Path(config.run), pick_device(config.device))
    out = config.out or avatar.folder.parent / "videos" / f"{Path(config.source).stem}.mp4"
    for path in (out, out.with_suffix(".json")):
        check_writable(path)
    motion = motion_of(avatar, config.source, config)
    say(f"{len(motion)} frames of {motion.words}")
    frames = drawn(avatar, motion, config)
    if config.inset and Path(config.source).suffix.lower() in VIDEOS and Path(config.source).is_file():
        frames = with_inset(frames, Path(config.source), motion.fps)
    with stage_bar("driving") as progress:
        indices = counted(range(len(motion)), progress, "frame")
        write_video(out, (frame for _, frame in zip(indices, frames, strict=False)), motion.fps)
    write_motion(out.with_suffix(".json"), motion)
    say(f"wrote {out}")
    return 0


def drawn(avatar: TrainedAvatar, motion: Motion, config: Config) -> Iterator[np.ndarray]:
    cameras = cameras_of(avatar, config.camera, config.scale, len(motion))
    return driven_frames(avatar.model, motion.codes, motion.pose.matrices(), cameras, config.screen)


def cameras_of(avatar: TrainedAvatar, name: str, scale: float, count: int) -> list[Cameras]:
    """A camera for each frame.

    Raises:
        InputError: no camera of this name.
    """
    names, cameras = avatar.camera_names, avatar.cameras
    size = max(16, round(cameras.width * scale)), max(16, round(cameras.height * scale))
    cameras = cameras.resized(*size)
    if name == "orbit":
        from ..look.paths import interpolate

        # the cameras in their order from one side to the other
        side = cameras.centers @ cameras[avatar.frontal].viewmats[0, 0, :3]
        order = side.argsort()
        path = interpolate(cameras[order[:: max(1, len(order) // 6)]], max(count // 2, 2))
        back = list(range(len(path))) + list(range(len(path)))[::-1]
        return [path[back[i % len(back)]] for i in range(count)]
    if name != "frontal" and name not in names:
        raise InputError(f"--camera {name}: expected frontal, orbit or one of {', '.join(names)}")
    row = avatar.frontal if name == "frontal" else names.index(name)
    return [cameras[row]] * count


def with_inset(frames: Iterator[np.ndarray], path: Path, fps: float) -> Iterator[np.ndarray]:
    """The frames, so many a second, with those of the driving video at that time in the corner at the bottom left."""
    from PIL import Image

    sources, source_fps = video_frames(path)
    at, source = -1, None
    for number, frame in enumerate(frames):
        while at < round(number * source_fps / fps) and (following := next(sources, None)) is not None:
            at, source = at + 1, following
        assert source is not None
        height = max(2, round(INSET * frame.shape[0]))
        width = min(frame.shape[1] // 2, max(2, round(height * source.shape[1] / source.shape[0])))
        small = np.asarray(Image.fromarray(source).resize((width, height), Image.Resampling.BOX))
        shown = frame.copy()
        shown[-height:, :width] = small
        yield shown
