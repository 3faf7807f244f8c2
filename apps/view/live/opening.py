"""Whether there is a live page; without --view, nothing of the viewer is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .flags import LiveConfig

if TYPE_CHECKING:
    from .page import LivePage


@contextmanager
def live_page(config: LiveConfig, title: str) -> Iterator[LivePage | None]:
    """The page for the block, with --view.

    Raises:
        InputError: the port is taken, or there is none.
        MissingPart: viser is too old.
    """
    if not config.view:
        yield None
        return
    from ..server import Address, served
    from .page import LivePage

    address, end = Address(port=config.view_port), "the live page: it ends with this command"
    with served(address, f"gs-reg: {title}", "--view-port", end) as server:
        yield LivePage(server, title)
