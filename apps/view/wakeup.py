"""Threads that work when something has changed; of several changes the newest counts."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Wakeup:
    """What one thread waits for and others call."""

    def __init__(self, asked: bool = False) -> None:
        self._changed, self._asked, self._closed = threading.Condition(), asked, False

    @property
    def closed(self) -> bool:
        return self._closed

    def ask(self) -> None:
        with self._changed:
            self._asked = True
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self, seconds: float | None = None, take: bool = True) -> bool:
        """Whether a change came within this time, and not the end; `take`: it is seen to."""
        with self._changed:
            self._changed.wait_for(lambda: self._asked or self._closed, seconds)
            came = self._asked and not self._closed
            if take:
                self._asked = False
            return came


class Worker(threading.Thread):
    """Calls `act` after changes, one call for those that came during the last."""

    def __init__(self, name: str, act: Callable[[], None]) -> None:
        super().__init__(daemon=True, name=name)
        self._act, self._wakeup = act, Wakeup()

    def ask(self) -> None:
        self._wakeup.ask()

    def close(self) -> None:
        self._wakeup.close()

    def run(self) -> None:
        while self._wakeup.wait():
            self._act()
