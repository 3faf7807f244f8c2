"""The page of a scene: what is drawn, by whom, and the state that its panels share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from gs_reg.errors import in_words
from gs_reg.io.opening import some_of, viewing_distance
from gs_reg.render import RenderConfig
from gs_reg.rotations import quat_to_rotmat
from gs_reg.types import Cameras, Splats

from ..runs.progress import plural
from .compat import add_splats
from .drawing import Canvas, Draw
from .looks import WORDS, Look, baked_colors, confidence_colors, draw_look, part_colors
from .navigation import field_of_view, jump, open_camera
from .source import Shown, confidence, words
from .status import Status
from .wakeup import Worker

if TYPE_CHECKING:
    from viser import ClientHandle, ViserServer

Drawer = Literal["browser", "server"]
Overlay = Callable[[Cameras, UInt8[np.ndarray, "H W 3"]], UInt8[np.ndarray, "H W 3"]]
MOST_IN_BROWSER, MOST_BESIDE_GPU = 2_000_000, 500_000
"""Splats that a browser draws well; with CUDA at hand the server draws from fewer on."""


def choose_drawer(count: int, device: torch.device) -> Drawer:
    return "server" if count > (MOST_BESIDE_GPU if device.type == "cuda" else MOST_IN_BROWSER) else "browser"


@dataclass(frozen=True)
class Kept:
    """Rows that are shown, on the device that draws."""

    rows: Bool[Tensor, "N"]
    splats: Splats
    colors: dict[Look, Float[Tensor, "M 3"]]


class ScenePage:
    """Splats, drawn by the browser or here. Panels change its state through its methods, from any thread."""

    def __init__(
        self, server: ViserServer, shown: Shown, drawer: Drawer, device: torch.device, config: RenderConfig
    ) -> None:
        self.server, self.shown, self.config = server, shown, config
        self.splats = shown.splats.to(device)
        self.look: Look = "colour"
        self.background, self.up = shown.background, shown.up
        self._some = some_of(shown.splats.means)
        self.confidence = confidence(shown, self.splats)
        self._lock, self._handle, self._overlay = threading.Lock(), None, None
        self._drawing: Draw | None = None
        self._restrictions: dict[str, Tensor] = {}
        self._drawer: Drawer = drawer
        self._colors: dict[Look, Tensor] = {}
        if self.confidence is not None:
            photos = sum(photo.training for photo in shown.photos)
            self._colors["confidence"] = confidence_colors(self.confidence, photos)
        if shown.labels is not None:
            self._colors["parts"] = part_colors(shown.labels.ids.to(device))
        self._kept = Kept(torch.ones(len(self.splats), dtype=torch.bool, device=device), self.splats, self._colors)
        open_camera(server, shown.first, shown.up, shown.distance)
        self.status = Status(server)
        self.status.say(words(shown))
        self.canvas = Canvas(server, self.draw, self._background_bytes, self.status.error, on=self._by_server)
        self._worker = Worker("page", self._update)
        self._worker.start()
        self._send(visible=not self._by_server)

    @property
    def looks(self) -> dict[Look, str]:
        """Those that this scene has, with their words."""
        return {look: text for look, text in WORDS.items() if look in ("colour", "depth", "alpha", *self._colors)}

    @property
    def kept(self) -> Kept:
        return self._kept

    @property
    def drawer(self) -> Drawer:
        return self._drawer

    def set_drawer(self, drawer: Drawer) -> None:
        self._drawer = drawer
        self._worker.ask()

    def set_look(self, look: Look) -> None:
        self.look = look
        self._worker.ask()

    def set_background(self, background: Float[Tensor, "3"]) -> None:
        self.background = background
        self._worker.ask()

    def set_overlay(self, overlay: Overlay | None) -> None:
        """Something that is put over drawn pictures; while there is one, the server draws, although a browser could."""
        self._overlay = overlay
        self._worker.ask()

    def set_drawing(self, drawing: Draw | None) -> None:
        """Something that is drawn instead of the splats, by the server; None = the splats again."""
        self._drawing = drawing
        self._worker.ask()

    def restrict(self, name: str, rows: Bool[Tensor, "N"] | None) -> None:
        """Shows these rows alone, of those that the restrictions of other names leave; None lifts it."""
        if rows is None:
            self._restrictions.pop(name, None)
        else:
            self._restrictions[name] = rows.to(self.splats.means.device)
        self._worker.ask()

    def rows(self) -> Bool[Tensor, "N"]:
        """Those that all restrictions leave."""
        rows = torch.ones(len(self.splats), dtype=torch.bool, device=self.splats.means.device)
        for others in list(self._restrictions.values()):
            rows = rows & others
        return rows

    def go(self, client: ClientHandle, camera: Cameras) -> None:
        """Puts a browser's camera there, such that its window shows the whole picture of that camera."""
        aspect = client.camera.image_width / max(client.camera.image_height, 1)
        distance = viewing_distance(self._some, camera)
        jump(client, camera, self.up, distance, field_of_view(camera, aspect))

    def close(self) -> None:
        self._worker.close()
        self.canvas.close()

    def draw(self, camera: Cameras, moving: bool = False, look: Look | None = None) -> UInt8[np.ndarray, "H W 3"]:
        """What the page shows from a camera."""
        kept, overlay, drawing = self._kept, self._overlay, self._drawing
        with self._lock:  # one picture at a time: two at once would take twice as long each
            config = replace(self.config, supersample=1) if moving else self.config
            if drawing is not None and look is None:
                return drawing(camera, moving)
            picture = draw_look(kept.splats, camera, look or self.look, kept.colors, self.background, config)
        return overlay(camera, picture) if overlay and look is None else picture

    @property
    def _by_server(self) -> bool:
        drawn_here = self.look != "colour" or self._overlay is not None or self._drawing is not None
        return self._drawer == "server" or drawn_here

    def _update(self) -> None:
        """Brings browsers up to date; called by one thread alone."""
        try:
            self._keep(self.rows())
            self._send(visible=not self._by_server)
            self.canvas.on = self._by_server
        except Exception as error:
            self.status.error(in_words(error))

    def _keep(self, rows: Bool[Tensor, "N"]) -> None:
        if torch.equal(rows, self._kept.rows):
            return
        if bool(rows.all()):
            self._kept = Kept(rows, self.splats, self._colors)
        else:
            colors: dict[Look, Tensor] = {look: colors[rows] for look, colors in self._colors.items()}
            self._kept = Kept(rows, self.splats.rows(rows), colors)
        hidden = len(rows) - int(rows.sum())
        self.status.say(words(self.shown) + (f"; {plural(hidden, 'Gaussian')} hidden" if hidden else ""))

    def _send(self, visible: bool) -> None:
        """Splats are sent only once a browser is to draw them."""
        kept = self._kept
        if self._handle is not None and self._handle[0] is not kept:
            self._handle[1].remove()
            self._handle = None
        if self._handle is None and visible and len(kept.splats):
            self._handle = kept, add_splats(self.server, "/splats", *for_browser(kept.splats, self.shown))
        if self._handle is not None:
            self._handle[1].visible = visible

    def _background_bytes(self) -> tuple[int, int, int]:
        red, green, blue = (round(255 * float(value)) for value in self.background)
        return red, green, blue


def for_browser(splats: Splats, shown: Shown) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Means, covariances, baked colours and opacities as arrays; what is not finite is left out."""
    training = [photo.camera.centers for photo in shown.photos if photo.training]
    cameras = torch.cat(training).to(splats.means) if training else splats.means.new_zeros(0, 3)
    return browser_arrays(splats, cameras)


def browser_arrays(
    splats: Splats, cameras: Float[Tensor, "C 3"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The same, with the colours that cameras there see on average."""
    splats = splats.rows(splats.finite)
    axes = quat_to_rotmat(splats.quats) * splats.scales[:, None]
    tensors = splats.means, axes @ axes.mT, baked_colors(splats, cameras), splats.opacities
    means, covariances, colors, opacities = (tensor.cpu().numpy() for tensor in tensors)
    return means, covariances, colors, opacities
