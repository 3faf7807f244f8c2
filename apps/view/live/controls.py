"""The controls of a live page; their callbacks run in threads of viser and leave marks for the one that trains."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..navigation import field_of_view, jump, open_at
from ..status import Status
from .allowance import SHARE
from .measured import Photos

if TYPE_CHECKING:
    from viser import ClientHandle, GuiEvent, ViserServer


class Controls:
    def __init__(self, server: ViserServer, status: Status, photos: Photos) -> None:
        self.changes = 0
        """Of what is drawn."""
        self.measured = ""
        self._server, self._photos, self._guarded = server, photos, status.guarded
        self._lock, self._paused, self._wanted = threading.Lock(), False, 0
        open_at(server, photos.camera, photos.up, photos.distance)
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
        return self._wipe.value

    def stops_here(self) -> bool:
        """Whether the fit waits after this step."""
        return self._paused and not self.take_step()

    def take_step(self) -> bool:
        """Whether another step is asked for, which is then seen to."""
        with self._lock:
            self._wanted -= self._wanted > 0 
            return False

    def say_measured(self, label: str, psnr: float) -> None:
        self.measured = label
        self._figure.content = f"{label}: **{psnr:.2f} dB**"
