"""A command of gs-reg in a process of its own, whose page somebody visits."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from gs_reg.errors import InputError


class ServerProcess:
    """From its address, where it `listens`, until the end of the block."""

    def __init__(self, words: Sequence[str], listens: bool = True) -> None:
        """Raises InputError: it ended before it said its address."""
        self._words, self._lines = words, []
        self.url, self.listening = "", 0.0
        self.begun = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gs_reg", *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        self._said = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)  # else it would wait for a full pipe
        self._reader.start()
        if listens:
            self._said.wait()
            if not self.url:
                self._process.wait()
                raise self._failed()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines = [*self._lines[-9:], line]
            if found := re.match(r"open (http://\S+) ", line):
                self.url, self.listening = found[1], self.seconds
                self._said.set()
        self._said.set()

    def _failed(self) -> InputError:
        said = self._lines[-1].strip() if self._lines else "it said nothing"
        return InputError(f"gs-reg {self._words[0]} ended: {said}")

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def seconds(self) -> float:
        """Since the start of the command."""
        return time.perf_counter() - self.begun

    def processor_seconds(self) -> float:
        """So far, on Linux."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ended(self) -> None:
        """Waits for its end; raises InputError where it failed."""
        if self._process.wait() != 0:
            self._reader.join()
            raise self._failed()

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self.running:
            self._process.terminate()  # SIGINT is ignored by what a script started in the background
        self._process.wait()
        self._reader.join()
