"""Processes of gs-reg that are forked from one in which everything is imported already: that saves seconds on each."""

import importlib
import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path

from gs_reg.apps import cli

from ..conftest import usual_signals

IMPORTED = ["torch", "cv2", "tyro", "scipy.ndimage", "skimage.filters", "imageio_ffmpeg", "jinja2"]
IMPORTED += [f"gs_reg.apps.{name}" for name in ("scenes.reconstruct", "batch.sweep", "batch.run", "look.render")]
IMPORTED += [f"gs_reg.apps.{name}" for name in ("look.report", "avatar.train", "edit.run")]
CONTEXT = multiprocessing.get_context("forkserver")


def _main(words: list[str], said: Path, before: Callable[[], None] | None) -> None:
    usual_signals()
    if before is not None:
        before()
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.exit(cli.main(words))


def start(words, said: Path, before: Callable[[], None] | None = None) -> multiprocessing.Process:
    """A process of `gs-reg WORDS`; what it says is appended to the file `said`. It first calls `before`."""
    CONTEXT.set_forkserver_preload([name for name in IMPORTED if importlib.util.find_spec(name)])
    process = CONTEXT.Process(target=_main, args=([str(word) for word in words], said, before))
    process.start()
    return process
