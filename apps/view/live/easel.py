"""Pictures of a fit for each browser, drawn in the thread that trains, between two steps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from gs_reg.types import Cameras

from ..compat import show_picture
from ..drawing import FINE_QUALITY, LEAST_SHARE, MOST_PIXELS, MOVING_QUALITY, Draw, camera_of

if TYPE_CHECKING:
    from viser import ClientHandle, ViserServer

MOVING_SECONDS, REST_SECONDS = 0.03, 0.12
"""What a picture may take while the camera moves, and once it rests; its size follows from what the last ones took."""


@dataclass
class _Sheet:
    """What one browser was shown last."""

    camera: Cameras | None = None
    moving: bool = True
    version: int = -1
    painted: float = 0.0


class Easel:
    """Not for several threads: the one that trains calls `paint`."""

    def __init__(self, server: ViserServer) -> None:
        self._server = server
        self._sheets: dict[int, _Sheet] = {}
        self._pixel_seconds = MOVING_SECONDS / 30_000
        self.painted = 0
        """Pictures so far."""

    def paint(self, draw: Draw, version: int) -> bool:
        """One picture for the browser that has waited longest for one; False where all have the newest.

        `version` says what is drawn: a picture of another version is old.
        """
        clients = self._server.get_clients()
        self._sheets = {number: self._sheets.get(number, _Sheet()) for number in clients}
        for number, sheet in sorted(self._sheets.items(), key=lambda item: item[1].painted):
            if self._renew(clients[number], sheet, draw, version):
                return True
        return False

    def _renew(self, client: ClientHandle, sheet: _Sheet, draw: Draw, version: int) -> bool:
        handle = client.camera
        whole = max(handle.image_width, 16), max(handle.image_height, 16)
        camera = camera_of(handle, *whole)
        moving = sheet.camera is None or not _same(camera, sheet.camera)
        if not moving and sheet.version == version and not sheet.moving:
            return False
        begun = time.perf_counter()
        pixels = (MOVING_SECONDS if moving else REST_SECONDS) / self._pixel_seconds
        share = min(pixels, MOST_PIXELS) / (whole[0] * whole[1])
        share = min(max(share**0.5, LEAST_SHARE), 1.0)
        width, height = (max(round(side * share), 16) for side in whole)
        picture = draw(camera.resized(width, height), moving)
        show_picture(client.scene, picture, MOVING_QUALITY if moving else FINE_QUALITY)
        client.flush()
        now = time.perf_counter()
        self._pixel_seconds = 0.5 * self._pixel_seconds + 0.5 * (now - begun) / (width * height)
        self.painted += 1
        sheet.camera, sheet.moving, sheet.version, sheet.painted = camera, moving, version, now
        return True


def _same(a: Cameras, b: Cameras) -> bool:
    same_size = (a.width, a.height) == (b.width, b.height)
    return same_size and torch.equal(a.viewmats, b.viewmats) and torch.equal(a.Ks, b.Ks)
