"""What a page says of itself: its state, and errors, which are shown where the user looks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from gs_reg.errors import in_words

from ..runs.progress import log

if TYPE_CHECKING:
    from viser import ViserServer

F = TypeVar("F", bound=Callable[..., Any])


class Status:
    """A line on top of the page; errors also go to the terminal."""

    def __init__(self, server: ViserServer) -> None:
        self._server, self._line = server, server.gui.add_markdown("")
        self._text = ""

    @property
    def text(self) -> str:
        return self._text

    def say(self, text: str) -> None:
        self._show(text, text)

    def error(self, text: str) -> None:
        log.warning("%s", text)
        self._show(text, f"⚠ **{text}**")

    def _show(self, text: str, markdown: str) -> None:
        self._text, self._line.content = text, markdown

    def guarded(self, act: F) -> F:
        """The callback of a control, which says its errors here: viser would print a traceback on the terminal."""

        @functools.wraps(act)
        def guarded(*arguments: Any) -> None:
            try:
                act(*arguments)
            except Exception as error:
                self.error(in_words(error))

        return guarded  # pyright: ignore[reportReturnType]
