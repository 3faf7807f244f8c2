"""A camera path through views that the user picks, or round the photos: preview, file, video."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from gs_reg.errors import InputError
from gs_reg.types import Cameras

from ...look.paths import camera_path, with_one_size
from ...look.video import write_video
from ..camera_path import MOST_SIDE, CameraPath, load_path, save_path
from ..drawing import camera_of
from ..files import check, target
from ..navigation import jump, vertical_fov
from ..scene_page import ScenePage

if TYPE_CHECKING:
    from viser import ClientHandle, GuiEvent

KINDS = ("keyframes", "interpolate", "orbit", "spiral")
LINE = (240, 190, 60)


def add_path_panel(page: ScenePage) -> None:
    gui, guarded = page.server.gui, page.status.guarded
    views = _Views(page)
    if page.shown.photos:
        views.kind = gui.add_dropdown("path", KINDS, hint="Through your views, through the photos, or round them")
    edit = gui.add_button_group("view", ("add", "remove last", "clear"))
    views.said = gui.add_markdown("no views yet: move the camera and add some")
    views.seconds = gui.add_number("seconds", 4.0, min=0.1, max=600.0, step=0.1)
    views.fps = gui.add_number("frames a second", 30, min=1, max=120, step=1)
    views.size = gui.add_vector2("size", (1280, 720), min=(16, 16), max=(MOST_SIDE, MOST_SIDE), step=2)
    preview = gui.add_button("preview", hint="Moves your camera along the path; again to stop")
    name = gui.add_text("name", "path")
    files = gui.add_button_group("file", ("save", "load"), hint="The JSON of nerfstudio's camera paths")
    film = gui.add_button("render video", hint="An MP4, drawn by gs-reg with all harmonics")
    bar = gui.add_progress_bar(0.0, visible=False)
    playing = threading.Event()

    @edit.on_click
    @guarded
    def _(event: GuiEvent) -> None:
        assert event.client is not None
        if edit.value == "add":
            views.keyframes.append(camera_of(event.client.camera, *views.pixels))
        else:
            del views.keyframes[-1 if edit.value == "remove last" else 0 :]
        views.show()

    if views.kind is not None:

        @views.kind.on_update
        @guarded
        def _(_: GuiEvent) -> None:
            views.show()

    @preview.on_click
    @guarded
    def _(event: GuiEvent) -> None:
        if playing.is_set():
            playing.clear()
            return
        assert event.client is not None
        playing.set()
        try:
            _play(page, event.client, views.frames(), views.seconds.value, playing)
        finally:
            playing.clear()

    @files.on_click
    @guarded
    def _(_: GuiEvent) -> None:
        file = f"{name.value.removesuffix('.json')}.json"
        if files.value == "save":
            path = target(page.shown.out, file, (".json",))
            save_path(path, views.path(), page.shown.file_from_page)
            page.status.say(f"wrote {path}")
            return
        check(file, (".json",))
        views.take(load_path(page.shown.out / file, page.shown.file_from_page))
        page.status.say(f"read {page.shown.out / file}")

    @film.on_click
    @guarded
    def _(_: GuiEvent) -> None:
        path = target(page.shown.out, f"{name.value.removesuffix('.mp4')}.mp4", (".mp4",))
        film.disabled, bar.visible = True, True
        try:
            count = write_video(path, _drawn(page, views.frames(), bar), views.fps.value)
        finally:
            film.disabled, bar.visible = False, False
        page.status.say(f"wrote {path}: {count} frames")


@dataclass
class _Views:
    """The user's views and the controls of the path."""

    page: ScenePage
    keyframes: list[Cameras] = field(default_factory=list)
    kind: Any = None
    said: Any = None
    seconds: Any = None
    fps: Any = None
    size: Any = None
    _line: Any = None

    @property
    def pixels(self) -> tuple[int, int]:
        width, height = self.size.value
        return round(width), round(height)

    def path(self) -> CameraPath:
        keyframes = tuple(_fitted(camera, *self.pixels) for camera in self.keyframes)
        return CameraPath(keyframes, float(self.seconds.value), float(self.fps.value))

    def frames(self) -> Cameras:
        """Raises InputError: there is no path yet."""
        path = self.path()
        if self.kind is None or self.kind.value == "keyframes":
            return path.cameras()
        photos = with_one_size([photo.camera for photo in self.page.shown.photos if photo.training])
        frames = camera_path(self.kind.value, photos, path.count, focus_depth=self.page.shown.distance)
        return _fitted(frames, *self.pixels)

    def take(self, path: CameraPath) -> None:
        self.keyframes[:] = path.keyframes
        self.seconds.value, self.fps.value = path.seconds, round(path.fps)
        self.size.value = (path.keyframes[0].width, path.keyframes[0].height)
        if self.kind is not None:
            self.kind.value = "keyframes"
        self.show()

    def show(self) -> None:
        """Draws the path into the scene and says how long it is."""
        if self._line is not None:
            self._line.remove()
            self._line = None
        self.said.content = f"{len(self.keyframes)} views"
        try:
            points = self.frames().centers.cpu().numpy()
        except InputError:
            return
        segments = np.stack([points[:-1], points[1:]], 1)
        scene = self.page.server.scene
        self._line = scene.add_line_segments("/path", segments, LINE, thickness=2.0, thickness_units="screen")


def _fitted(cameras: Cameras, width: int, height: int) -> Cameras:
    """The cameras for pictures of another size, with the same vertical field of view."""
    scale = height / cameras.height
    Ks = cameras.Ks * cameras.Ks.new_tensor([scale, scale, 1.0])[:, None]
    shift = (width - cameras.width * scale) / 2
    return Cameras(cameras.viewmats, Ks + Ks.new_tensor([[0, 0, shift], [0, 0, 0], [0, 0, 0]]), width, height)


def _play(page: ScenePage, client: ClientHandle, frames: Cameras, seconds: float, playing: threading.Event) -> None:
    """Moves a browser's camera along the frames in their time, leaving out those that it is too slow for."""
    begun = time.monotonic()
    while playing.is_set() and (share := (time.monotonic() - begun) / seconds) < 1:
        camera = frames[round(share * (len(frames) - 1))]
        jump(client, camera, page.up, page.shown.distance, vertical_fov(camera))
        client.flush()
        time.sleep(1 / 30)


def _drawn(page: ScenePage, frames: Cameras, bar: Any) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    for number in range(len(frames)):
        bar.value = 100 * number / len(frames)
        yield page.draw(frames[number], look=page.look)
