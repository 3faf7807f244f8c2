"""Faces that the user sets and lets the head move through; any motion as a video from the browser's camera."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import UInt8

from gs_reg.driving import Drive
from gs_reg.errors import InputError
from gs_reg.priors import HeadPose
from gs_reg.types import Cameras

from ...avatar.motions import Motion, write_motion
from ...look.video import write_video
from ...runs.progress import plural
from ..camera_path import MOST_SIDE
from ..drawing import camera_of
from ..files import target
from .head import Pose
from .page import AvatarPage

if TYPE_CHECKING:
    from viser import GuiEvent

    from .panels import Controls


def motion_through(poses: Sequence[Pose], unit_m: float, seconds: float, fps: float) -> Motion:
    """From face to face in so many seconds each, slow at both ends of a step.

    Raises:
        InputError: fewer than two faces.
    """
    if len(poses) < 2:
        raise InputError(f"keyframes: expected at least 2 faces, got {len(poses)}: set the sliders, then add")
    pose = HeadPose.of_matrices(torch.stack([pose.matrix for pose in poses]), unit_m)
    drive = Drive(None, pose, 1 / seconds, torch.stack([pose.code for pose in poses]))
    steps = len(poses) - 1
    at = torch.linspace(0, steps, max(round(steps * seconds * fps), 1) + 1, dtype=torch.float64)
    share = at - at.floor()
    drive = drive.at(at.floor() + share.square() * (3 - 2 * share), fps)
    assert drive.codes is not None
    return Motion(drive.codes, drive.pose, fps, f"{len(poses)} keyframes")


def drawn(page: AvatarPage, motion: Motion, camera: Cameras, bar: Any) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Frames from one camera of the page."""
    for number, (code, matrix) in enumerate(zip(motion.codes, motion.pose.matrices(), strict=True)):
        bar.value = 100 * number / len(motion)
        yield page.head.draw(camera, False, Pose(code, matrix, page.head.pose.turn))


def add_keyframes(controls: Controls) -> None:
    gui, guarded, page = controls.gui, controls.guarded, controls.page
    poses: list[Pose] = []
    edit = gui.add_button_group("face", ("add", "remove last", "clear"), hint="As it is shown now")
    said = gui.add_markdown("no faces yet: set the sliders and add some")
    seconds = gui.add_number("seconds a step", 1.0, min=0.1, max=60.0, step=0.1)
    fps = gui.add_number("frames a second ", 24, min=1, max=60, step=1)
    play = gui.add_button("play the faces", hint="They become the timeline of the tab of driving")
    width, height = (side + side % 2 for side in (page.avatar.cameras.width, page.avatar.cameras.height))
    size = gui.add_vector2("size", (width, height), min=(16, 16), max=(MOST_SIDE, MOST_SIDE), step=2)
    name = gui.add_text("name", "driven")
    film = gui.add_button("record", hint="What drives the head now, from where you look, as MP4; its codes as JSON")
    bar = gui.add_progress_bar(0.0, visible=False)

    @edit.on_click
    @guarded
    def _(_: GuiEvent) -> None:
        if edit.value == "add":
            poses.append(page.head.pose)
        else:
            del poses[-1 if edit.value == "remove last" else 0 :]
        said.content = plural(len(poses), "face")

    @play.on_click
    @guarded
    def _(_: GuiEvent) -> None:
        unit = page.avatar.track.pose.unit_m
        motion = motion_through(poses, unit, float(seconds.value), float(fps.value))
        page.set_turn((0.0, 0.0, 0.0))  # each face has its own
        controls.show(motion)
        controls.player.play(0)

    @film.on_click
    @guarded
    def _(event: GuiEvent) -> None:
        motion = page.motion
        if motion is None:
            raise InputError("nothing to record: choose what drives the head, or play faces")
        assert event.client is not None
        camera = camera_of(event.client.camera, *(round(side) for side in size.value))
        path = target(page.out, f"{name.value.removesuffix('.mp4')}.mp4", (".mp4",))
        film.disabled, bar.visible = True, True
        try:
            count = write_video(path, drawn(page, motion, camera, bar), motion.fps)
            write_motion(path.with_suffix(".json"), motion)
        finally:
            film.disabled, bar.visible = False, False
        page.status.say(f"wrote {path}: {count} frames")
