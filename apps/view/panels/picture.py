"""What is drawn, by whom and over which colour; and pictures of it as files."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import torch

from ..drawing import camera_of
from ..looks import Look
from ..navigation import jump, level_camera
from ..scene_page import ScenePage

if TYPE_CHECKING:
    from viser import ClientHandle, GuiEvent

UPS = {"x": (1, 0, 0), "-x": (-1, 0, 0), "y": (0, 1, 0), "-y": (0, -1, 0), "z": (0, 0, 1), "-z": (0, 0, -1)}
BACKGROUNDS = {"black": 0.0, "grey": 0.5, "white": 1.0}
NOTE = {
    "browser": "The browser draws: one colour a splat from wherever you look, the mean of those towards the photos. "
    "Shine and reflections are not shown.",
    "server": "gs-reg draws, with all harmonics: coarse while you move, fine at rest.",
}
MOST_SIDE = 8192
"""Pixels of a picture as a file."""


def add_picture_panel(page: ScenePage) -> None:
    gui, guarded = page.server.gui, page.status.guarded
    by_words: dict[str, Look] = {words: look for look, words in page.looks.items()}
    drawer = gui.add_dropdown("drawn by", ("browser", "server"), initial_value=page.drawer)
    look = gui.add_dropdown("show", tuple(by_words), initial_value=page.looks[page.look])
    note = gui.add_markdown(NOTE[page.drawer])

    def describe() -> None:
        beside = page.drawer == "browser" and page.look != "colour"
        note.content = "This is drawn on the server." if beside else NOTE[page.drawer]

    @drawer.on_update
    @guarded
    def _(_: GuiEvent) -> None:
        page.set_drawer(drawer.value)
        describe()

    @look.on_update
    @guarded
    def _(_: GuiEvent) -> None:
        page.set_look(by_words[look.value])
        describe()

    background = gui.add_dropdown("behind", ("scene", *BACKGROUNDS))

    @background.on_update
    @guarded
    def _(_: GuiEvent) -> None:
        plain = BACKGROUNDS.get(background.value)
        page.set_background(page.shown.background if plain is None else torch.full((3,), plain))

    _add_cut(page)
    _add_navigation(page)
    _add_screenshot(page)


def _add_cut(page: ScenePage) -> None:
    """Hides splats that few photos confirm."""
    counts = page.confidence
    if counts is None:
        return
    most = sum(photo.training for photo in page.shown.photos)
    cut = page.server.gui.add_slider(
        "confirmed by",
        min=0.0,
        max=float(most),
        step=0.1,
        initial_value=0.0,
        hint="Hides Gaussians whose surface fewer training photos see, on average",
    )

    @cut.on_update
    @page.status.guarded
    def _(_: GuiEvent) -> None:
        page.restrict("confidence", counts >= cut.value if cut.value > 0 else None)


def _add_navigation(page: ScenePage) -> None:
    gui, guarded = page.server.gui, page.status.guarded
    up = gui.add_dropdown("up", ("scene", *UPS), hint="Which way is up when the camera turns about the scene")
    first = gui.add_button("first view")

    @up.on_update
    @guarded
    def _(_: GuiEvent) -> None:
        page.up = page.shown.up if up.value == "scene" else torch.tensor(UPS[up.value], dtype=torch.float32)
        cameras = {client: camera_of(client.camera, 16, 16) for client in page.server.get_clients().values()}
        page.server.scene.set_up_direction(tuple(page.up.tolist()))
        for client, camera in cameras.items():
            jump(client, level_camera(camera, page.up), page.up, _reach(client), None)

    @first.on_click
    @guarded
    def _(event: GuiEvent) -> None:
        assert event.client is not None
        page.go(event.client, page.shown.first)


def _reach(client: ClientHandle) -> float:
    """Distance of what the camera turns about."""
    return math.dist(client.camera.look_at, client.camera.position)


def _add_screenshot(page: ScenePage) -> None:
    gui = page.server.gui
    scale = gui.add_slider("screenshot size", min=1, max=4, step=1, initial_value=1, hint="Times that of the window")
    button = gui.add_button("screenshot", hint="Drawn by gs-reg with all harmonics, as a PNG for your browser")

    @button.on_click
    @page.status.guarded
    def _(event: GuiEvent) -> None:
        from PIL import Image

        assert event.client is not None
        handle, buffer = event.client.camera, io.BytesIO()
        times = min(scale.value, MOST_SIDE / max(handle.image_width, handle.image_height))
        size = round(handle.image_width * times), round(handle.image_height * times)
        Image.fromarray(page.draw(camera_of(handle, *size))).save(buffer, format="PNG")
        event.client.send_file_download(f"{page.shown.title}.png", buffer.getvalue())
        page.status.say(f"screenshot of {size[0]}x{size[1]} sent to the browser")
