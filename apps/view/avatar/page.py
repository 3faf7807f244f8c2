"""The page of an avatar: its state, and who draws it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from gs_reg.errors import in_words
from gs_reg.geometry import transform_cameras
from gs_reg.io import save_splats
from gs_reg.io.opening import some_of, up_direction, viewing_distance

from ...avatar.files import TrainedAvatar
from ...avatar.motions import Motion
from ...runs.progress import plural
from ..compat import add_splats
from ..drawing import Canvas
from ..files import target
from ..navigation import open_camera
from ..scene_page import browser_arrays
from ..status import Status
from ..wakeup import Worker
from .head import Head, Pose

if TYPE_CHECKING:
    from viser import ViserServer

WHITE = (255, 255, 255)


class AvatarPage:
    """Panels change its state through its methods, from any thread."""

    def __init__(self, server: ViserServer, avatar: TrainedAvatar, out: Path) -> None:
        self.server, self.avatar, self.out = server, avatar, out
        self.head = Head(avatar)
        self.title = avatar.folder.resolve().parent.name
        self.motion: Motion | None = None
        self.frame = 0
        self._drawer: Literal["server", "browser"] = "server"
        self._handle: Any = None
        cameras = transform_cameras(torch.linalg.inv(self.head.world_from_page), avatar.cameras.to(dtype=torch.float64))
        first = cameras[avatar.frontal].to(dtype=torch.float32)
        self._centers = cameras.centers.float()
        up = torch.tensor(up_direction([cameras[row] for row in range(len(cameras))]))
        open_camera(server, first, up, viewing_distance(some_of(self.head.in_page().means), first))
        self.status = Status(server)
        self.status.say(f"**{self.title}**: {plural(len(avatar.model.means), 'Gaussian')}, prior {avatar.info.prior}")
        self.canvas = Canvas(server, self.head.draw, lambda: WHITE, self.status.error)
        self._worker = Worker("avatar page", self._send)
        self._worker.start()

    def set_pose(self, pose: Pose) -> None:
        self.head.pose = pose
        self.changed()

    def set_code(self, channel: int, value: float) -> None:
        code = self.head.pose.code.clone()
        code[channel] = value
        self.set_pose(replace(self.head.pose, code=code))

    def set_turn(self, turn: tuple[float, float, float]) -> None:
        self.set_pose(replace(self.head.pose, turn=turn))

    def set_screen(self, on: bool) -> None:
        """The network in screen space."""
        self.head.screen = on
        self.changed()

    def drive(self, motion: Motion | None) -> None:
        """From here on, frames are those of this motion; None: the head rests."""
        self.motion, self.frame = motion, 0
        rest = self.head.rest
        self.set_pose(replace(rest, turn=self.head.pose.turn)) if motion is None else self.show_frame(0)

    def show_frame(self, frame: int) -> None:
        motion = self.motion
        if motion is None:
            return
        self.frame = frame % len(motion)
        pose = motion.pose[self.frame : self.frame + 1].matrices()[0]
        self.set_pose(Pose(motion.codes[self.frame], pose, self.head.pose.turn))

    def set_drawer(self, drawer: Literal["server", "browser"]) -> None:
        self._drawer = drawer
        self.changed()

    def changed(self) -> None:
        if self._drawer == "server" and self._handle is None:
            self.canvas.refresh()
        else:
            self._worker.ask()

    def save(self) -> Path:
        """The posed splats as a file, in the world of the capture."""
        path = target(self.out, "posed.ply", (".ply",))
        save_splats(path, self.head.posed().to("cpu"))
        return path

    def close(self) -> None:
        self._worker.close()
        self.canvas.close()

    def _send(self) -> None:
        """Splats to the browsers, or a picture again; called by one thread alone."""
        try:
            if self._handle is not None:
                self._handle.remove()
                self._handle = None
            if self._drawer == "browser":
                splats = self.head.in_page()
                arrays = browser_arrays(splats, self._centers)
                self._handle = add_splats(self.server, "/head", *arrays)
            self.canvas.on = self._drawer == "server"
        except Exception as error:
            self.status.error(in_words(error))
