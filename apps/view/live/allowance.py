"""How much of the time of a fit its live page may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SHARE = 0.06
"""Of the time of a fit; what is sent then costs a little more, in other threads."""
MOST_SAVED = 0.5
"""Seconds that may be saved up: a page that nobody has looked at for long must not stop the fit for as long."""


class Allowance:
    """Seconds for the page: a share of those that the fit has had in between; debts are paid back."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.share = SHARE
        self._clock, self._seconds, self._since = clock, 0.0, clock()

    @contextmanager
    def earned(self) -> Iterator[None]:
        """The block is the page's own time; what came before it, since the last one, was the fit's."""
        begun = self._clock()
        earned = (begun - self._since) * self.share / (1 - self.share)
        self._seconds = min(self._seconds + earned, MOST_SAVED)
        try:
            yield
        finally:
            self._since = self._clock()
            self._seconds -= self._since - begun

    @contextmanager
    def free(self) -> Iterator[None]:
        """Time that no fit waits for, such as in a pause."""
        begun = self._clock()
        try:
            yield
        finally:
            self._seconds += self._clock() - begun

    @property
    def left(self) -> bool:
        return self._seconds >= 0
