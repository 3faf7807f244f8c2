"""Pictures that the server draws for each browser: coarse while its camera moves, fine once it rests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import UInt8

from gs_reg.errors import in_words
from gs_reg.types import Cameras

from .compat import show_picture
from .wakeup import Wakeup

if TYPE_CHECKING:
    from viser import CameraHandle, ClientHandle, ViserServer

MOVING_SECONDS = 0.09
"""What a picture may take while the camera moves; its size follows from what the last ones took."""
REST_SECONDS = 0.2
"""Without a change, after which the fine picture is drawn."""
LEAST_SHARE, MOST_PIXELS = 0.2, 1920 * 1200
"""Of a side of the window while the camera moves; of a fine picture."""
MOVING_QUALITY, FINE_QUALITY = 75, 95
"""Of JPEG."""


Draw = Callable[[Cameras, bool], UInt8[np.ndarray, "H W 3"]]
"""Draws what is to be seen from a camera, which moves or not. It is called from one thread a browser."""


def camera_of(handle: CameraHandle, width: int, height: int) -> Cameras:
    """A browser's camera as ours; both have OpenCV axes, and the principal point in the middle."""
    wxyz, position = (torch.tensor(np.asarray(value), dtype=torch.float32) for value in (handle.wxyz, handle.position))
    return Cameras.from_pose(wxyz, position, float(handle.fov), width, height)


class Canvas:
    """The picture behind the 3D scene in each browser, drawn on the server while `on`; else one colour."""

    def __init__(
        self,
        server: ViserServer,
        draw: Draw,
        background: Callable[[], tuple[int, int, int]],
        failed: Callable[[str], None],
        on: bool = True,
    ) -> None:
        self._draw, self._background, self._failed, self._on = draw, background, failed, on
        self._painters: dict[int, _Painter] = {}
        server.on_client_connect(self._join)
        server.on_client_disconnect(self._leave)

    @property
    def on(self) -> bool:
        return self._on

    @on.setter
    def on(self, on: bool) -> None:
        self._on = on
        self.refresh()

    def refresh(self) -> None:
        """Draws anew in every browser: something other than the cameras has changed."""
        for painter in list(self._painters.values()):
            painter.ask()

    def close(self) -> None:
        for painter in list(self._painters.values()):
            painter.close()

    def drawn(self, client_id: int) -> Drawn | None:
        """The last picture that a browser was sent; None = none yet."""
        painter = self._painters.get(client_id)
        return painter.drawn if painter else None

    def _join(self, client: ClientHandle) -> None:
        painter = _Painter(client, self)
        self._painters[client.client_id] = painter
        client.camera.on_update(lambda _: painter.ask())
        painter.start()

    def _leave(self, client: ClientHandle) -> None:
        if painter := self._painters.pop(client.client_id, None):
            painter.close()


@dataclass(frozen=True)
class Drawn:
    width: int
    height: int
    moving: bool
    seconds: float
    number: int
    """Pictures sent to this browser so far."""


class _Painter(threading.Thread):
    """Draws for one browser; of several changes the newest counts."""

    def __init__(self, client: ClientHandle, canvas: Canvas) -> None:
        super().__init__(daemon=True, name=f"painter of client {client.client_id}")
        self.drawn: Drawn | None = None
        self._client, self._canvas, self._wakeup = client, canvas, Wakeup(asked=True)
        self._share = 0.5
        self.ask, self.close = self._wakeup.ask, self._wakeup.close

    def run(self) -> None:
        while self._wakeup.wait():
            try:
                if not self._canvas.on:
                    color = np.asarray(self._canvas._background(), np.uint8)
                    show_picture(self._client.scene, color[None, None], None)
                    continue
                self._paint(self._share, moving=True)
                if not self._wakeup.wait(REST_SECONDS, take=False) and not self._wakeup.closed:
                    self._paint(1.0, moving=False)
            except Exception as error:
                self._canvas._failed(f"cannot draw: {in_words(error)}")

    def _paint(self, share: float, moving: bool) -> None:
        begun, handle = time.perf_counter(), self._client.camera
        whole = (handle.image_width, handle.image_height)
        share = min(share, (MOST_PIXELS / max(whole[0] * whole[1], 1)) ** 0.5)
        width, height = (max(round(side * share), 16) for side in whole)
        picture = self._canvas._draw(camera_of(handle, width, height), moving)
        show_picture(self._client.scene, picture, MOVING_QUALITY if moving else FINE_QUALITY)
        self._client.flush()
        seconds = time.perf_counter() - begun
        if moving:  # time grows with the pixels, which are the square of the share, and with what never shrinks
            change = min(max((MOVING_SECONDS / seconds) ** 0.5, 0.7), 1.4)
            self._share = min(max(self._share * change, LEAST_SHARE), 1.0)
        number = self.drawn.number + 1 if self.drawn else 1
        self.drawn = Drawn(width, height, moving, seconds, number)


def as_picture(colors: Any) -> UInt8[np.ndarray, "H W 3"]:
    """Colours in [0, 1] as bytes on the CPU."""
    return (colors.detach().clamp(0, 1) * 255).round().byte().cpu().numpy()
