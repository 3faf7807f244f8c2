"""A thread that plays the motion of an avatar's page in real time; frames for which there is no time are left out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ..wakeup import Wakeup

TICK_SECONDS = 0.02
"""Least time between two frames."""


class Player(threading.Thread):
    """Calls `show` with the number of the frame that it is time for."""

    def __init__(self, show: Callable[[int], None]) -> None:
        super().__init__(daemon=True, name="player of an avatar")
        self._show, self._wakeup = show, Wakeup()
        self.playing, self.fps = False, 24.0
        self._first = 0

    def play(self, first: int) -> None:
        """From this frame on, without an end."""
        self._first, self.playing = first, True
        self._wakeup.ask()

    def pause(self) -> None:
        self.playing = False

    def close(self) -> None:
        self.playing = False
        self._wakeup.close()

    def run(self) -> None:
        while self._wakeup.wait():
            begun, before = time.perf_counter(), -1
            while self.playing:
                frame = self._first + int((time.perf_counter() - begun) * self.fps)
                if frame != before:
                    self._show(frame)
                    before = frame
                time.sleep(TICK_SECONDS)
