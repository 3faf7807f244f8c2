"""The controls of a live page; their callbacks run in threads of viser and leave marks for the one that trains."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..navigation import field_of_view, jump, open_camera
from ..status import Status
from .allowance import SHARE
from .photos import Photos

if TYPE_CHECKING:
    from viser import ClientHandle, GuiEvent, ViserServer


class Controls:
    def __init__(self, server: ViserServer, status: Status, photos: Photos) -> None:
        self.changes = 0
        """Of what is drawn beside the splats, so far."""
        self.measured = ""
        """Label of the photo that was measured last."""
        self._server, self._photos, self._guarded = server, photos, status.guarded
        self._lock, self._paused, self._wanted = threading.Lock(), False, 0
        open_camera(server, photos.camera, photos.up, photos.distance)
        self.progress = server.gui.add_progress_bar(0.0)
        self._add_pace()
        with server.gui.add_folder("photo"):
            self._add_photos()

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def share(self) -> float:
        """Of the time, for the page."""
        return self._share.value / 100

    @property
    def photo_share(self) -> float:
        """Of a picture from the chosen photo's camera, what is photo."""
        return self._wipe.value

    def take_step(self) -> bool:
        """Whether one more step is asked for in a pause, which is then seen to."""
        with self._lock:
            asked = self._wanted > 0
            self._wanted -= asked
            return asked

    def say_measured(self, label: str, psnr: float) -> None:
        self.measured = label
        self._figure.content = f"{label}: **{psnr:.2f} dB**"

    def _add_pace(self) -> None:
        gui = self._server.gui
        # above the lines that are written anew: their wraps would move the buttons under the hand
        words, hint = ("pause", "step", "continue"), "Pauses and steps change no result"
        pace = gui.add_button_group("the fit", words, hint=hint, order=-1)
        self._share = gui.add_slider(
            "% of the time",
            min=1,
            max=50,
            step=1,
            initial_value=round(100 * SHARE),
            hint="What this page may take of the fit's time while it runs; more = more pictures",
        )

        @pace.on_click
        @self._guarded
        def _(_: GuiEvent) -> None:
            with self._lock:
                if pace.value == "step":
                    self._wanted += self._paused
                else:
                    self._wanted = 0
                self._paused = pace.value != "continue"

    def _add_photos(self) -> None:
        gui, photos = self._server.gui, self._photos
        choice = gui.add_dropdown("photo", photos.labels, initial_value=photos.label)
        go = gui.add_button_group("go to", ("previous", "this", "next"))
        hint = "How much of the picture is the photo, seen from its camera"
        self._wipe = gui.add_slider("photo | render", min=0.0, max=1.0, step=0.01, initial_value=0.0, hint=hint)
        self._figure = gui.add_markdown("not yet measured")

        @choice.on_update
        @self._guarded
        def _(event: GuiEvent) -> None:
            self._go(event.client, choice.value)

        @go.on_click
        @self._guarded
        def _(event: GuiEvent) -> None:
            labels = photos.labels
            move = {"previous": -1, "this": 0, "next": 1}[go.value]
            choice.value = labels[(labels.index(photos.label) + move) % len(labels)]
            self._go(event.client, choice.value)

        @self._wipe.on_update
        @self._guarded
        def _(_: GuiEvent) -> None:
            self.changes += 1

    def _go(self, client: ClientHandle | None, label: str) -> None:
        photos = self._photos
        photos.label = label
        self.changes += 1
        if client is not None:
            camera = photos.camera
            aspect = client.camera.image_width / max(client.camera.image_height, 1)
            jump(client, camera, photos.up, photos.distance, field_of_view(camera, aspect))
