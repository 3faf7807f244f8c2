"""All that is particular to a version of viser, or that it has no public name for."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from gs_reg.errors import MissingPart

if TYPE_CHECKING:
    from viser import ViserServer

OLDEST = (1, 1)
"""Version of viser that has the calls used here; nerfstudio 1.1.5 pins an older one in its own environment."""
LOCAL_PAGES = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")
"""Origins whose scripts may speak to a server on this machine; an ssh tunnel may have another port."""


def start_server(host: str, port: int, title: str, *, local: bool) -> ViserServer:
    """A server at this address or, where another process was quicker, at the next free port.

    `local`: pages of other origins are refused, as any site that is open in the same browser could speak to it.

    Raises:
        MissingPart: viser is older than this needs.
    """
    import viser
    from viser import _messages

    version = importlib.metadata.version("viser")
    if tuple(map(int, version.split(".")[:2])) < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise MissingPart(f"viser {version} is too old for gs-reg view: pip install 'viser>={needed}'")
    with contextlib.redirect_stdout(io.StringIO()), _origins([LOCAL_PAGES, None] if local else None):
        server = viser.ViserServer(host=host, port=port, label=title, verbose=False)
    # the button is hidden by the theme; a page could still ask for a tunnel through a server elsewhere
    for message in (_messages.ShareUrlRequest, _messages.ShareUrlDisconnect):
        server._websock_server.unregister_handler(message)
    server.gui.configure_theme(show_share_button=False, show_logo=False, dark_mode=True, control_width="large")
    return server


@contextlib.contextmanager
def _origins(allowed: list[re.Pattern[str] | None] | None) -> Iterator[None]:
    """Servers that viser starts in the block accept sockets from pages of these origins only."""
    from websockets.asyncio import server

    serve = server.serve
    server.serve = functools.partial(serve, origins=allowed)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        server.serve = serve


def stop_server(server: ViserServer) -> None:
    with contextlib.redirect_stdout(io.StringIO()):  # it prints that it has stopped
        server.stop()


def show_picture(scene: Any, picture: UInt8[np.ndarray, "H W 3"], quality: int | None) -> None:
    """Fills the window behind all else; `quality` is that of JPEG, None = without loss."""
    scene.set_background_image(picture, format="jpeg" if quality else "png", jpeg_quality=quality)


def add_splats(
    server: ViserServer,
    name: str,
    means: Float[np.ndarray, "N 3"],
    covariances: Float[np.ndarray, "N 3 3"],
    colors: Float[np.ndarray, "N 3"],
    opacities: Float[np.ndarray, "N"],
) -> Any:
    """Splats that the browser draws; the handle's `visible` and `remove()` are viser's.

    viser keeps covariances as float16: they are sent in a unit of length that brings sizes to about 1.
    """
    unit = float(np.median(np.sqrt(np.einsum("nii->n", covariances) / 3))) if len(means) else 1.0
    unit = unit or 1.0
    return server.scene.add_gaussian_splats(
        name, means / unit, np.clip(covariances / unit**2, -6e4, 6e4), colors, opacities[:, None], scale=unit
    )
