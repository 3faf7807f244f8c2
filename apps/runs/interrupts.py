"""SIGTERM and SIGHUP interrupt a command as Ctrl-C does; the exit code tells which one it was."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.machinery
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))


class Interrupted(KeyboardInterrupt):
    """An interrupt by a signal."""

    def __init__(self, number: int, hint: str = ""):
        super().__init__(hint)
        self.number = number


def exit_code(error: KeyboardInterrupt) -> int:
    """128 and the number of the signal, as shells have it."""
    return 128 + (error.number if isinstance(error, Interrupted) else signal.SIGINT)


def _interrupt(number: int, _: object) -> None:
    raise Interrupted(number)


@contextmanager
def signals_handled(handler: Any = _interrupt) -> Iterator[None]:
    """Handles all SIGNALS in the block; one that the process was started to ignore (nohup) stays ignored."""
    try:
        before = {n: signal.signal(n, handler) for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN}
    except ValueError:  # not the main thread: signals are another's business
        yield
        return
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


class KeepHandlers:
    """Importing pycolmap replaces the handler of SIGTERM by one that prints a C++ stack: this sets ours again.

    Until then a signal waits: it is blocked here, and in numpy's threads too, as these begin while numpy is imported.
    """

    BLOCKED = frozenset({"numpy", "pycolmap._core"})
    """Modules during whose import signals wait."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name not in self.BLOCKED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                before = (
                    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS) if hasattr(signal, "pthread_sigmask") else None
                )
                try:
                    load(module)
                    _set_again()
                finally:
                    if before is not None:
                        signal.pthread_sigmask(signal.SIG_SETMASK, before)

            spec.loader.exec_module = exec_module
        return spec


def _set_again() -> None:
    with contextlib.suppress(ValueError):
        for number in SIGNALS:
            signal.signal(number, signal.getsignal(number))


def keep_handlers() -> None:
    """Installs KeepHandlers once."""
    if not any(isinstance(finder, KeepHandlers) for finder in sys.meta_path):
        sys.meta_path.insert(0, KeepHandlers())


PARENT = "GS_REG_PARENT"
"""Variable of the environment: the process with which one that it started ends."""
PROGRESS = "GS_REG_PROGRESS"
"""Variable of the environment: the descriptor of the pipe on which a child reports its progress."""
PR_SET_PDEATHSIG = 1
"""Of Linux's prctl(2)."""


def end_with_parent() -> None:
    """Ends this process when the gs-reg that started it is killed, on Linux: else it would go on in the same folder."""
    parent = os.environ.pop(PARENT, "")
    if not parent.isdecimal() or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it was killed before
        os.kill(os.getpid(), signal.SIGKILL)


def run_child(
    words: Sequence[str], progress: Callable[[str, float], None] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a process to its end, with its output as text; an interrupt is passed on, and its end awaited.

    Where this process is killed, a child that is gs-reg ends too. What such a child reports to its first `stage_bar`
    goes to `progress`, from another thread.
    """
    pipe = subprocess.PIPE
    with _reports_to(progress) as writing:
        child = subprocess.Popen(
            words,
            stdout=pipe,
            stderr=pipe,
            encoding="utf-8",
            errors="replace",
            env=os.environ | {PARENT: str(os.getpid()), PROGRESS: " ".join(map(str, writing))},
            pass_fds=writing,
        )
    try:
        out, errors = child.communicate()
    except BaseException:
        child.terminate()
        child.communicate()
        raise
    return subprocess.CompletedProcess(list(words), child.returncode, out, errors)


@contextmanager
def _reports_to(progress: Callable[[str, float], None] | None) -> Iterator[tuple[int, ...]]:
    """The descriptor for a child that is started in the block, if anyone listens."""
    if progress is None:
        yield ()
        return
    reading, writing = os.pipe()
    threading.Thread(target=_pass_on, args=(reading, progress), daemon=True).start()
    try:
        yield (writing,)
    finally:
        os.close(writing)  # so that the thread ends with the child


def _pass_on(reading: int, progress: Callable[[str, float], None]) -> None:
    """Lines `share stage` of the pipe, until its other end is closed."""
    with open(reading, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            share, _, stage = line.rstrip("\n").partition(" ")
            progress(stage, float(share))


@contextmanager
def reporting_to_parent() -> Iterator[Callable[[str, float], None] | None]:
    """Reports stage and share to the gs-reg that started this process, to one block; None = there is none."""
    writing = os.environ.pop(PROGRESS, "")
    if not writing.isdecimal():
        yield None
        return
    with open(int(writing), "w", encoding="utf-8", errors="replace", buffering=1) as lines:
        yield lambda stage, share: print(f"{share:.4f} {stage}", file=lines)
