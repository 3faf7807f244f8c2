"""The live page of a fit: what it looks like now, its photos and curves; pause, step, continue."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import UInt8

from gs_reg.errors import in_words
from gs_reg.fit import Step
from gs_reg.types import Cameras

from ...runs.progress import plural
from ..drawing import as_picture
from ..panels.photos import laid_over, same_pose
from ..status import Status
from .allowance import Allowance
from .controls import Controls
from .easel import Easel
from .history import Charts
from .photos import Photos
from .subject import Subject

if TYPE_CHECKING:
    from viser import ViserServer

WORDS_SECONDS, CHART_SECONDS, MEASURE_SECONDS = 0.5, 2.0, 5.0
"""At least so long between two lines of status, drawings of the curves, and measurements of the photo."""
LOOK_SECONDS = 0.03
"""How often a pause looks whether it is over, and where the cameras are."""


class LivePage:
    """Its methods are for the thread that trains; the controls, which other threads change, are read by it."""

    def __init__(self, server: ViserServer, title: str) -> None:
        self.server, self.title = server, title
        self.status = Status(server)
        self.status.say(f"**{title}**: not yet at the first step ...")
        self.subject: Subject | None = None
        self.allowance, self.easel = Allowance(), Easel(server)
        self._done = self._steps = 0
        self._seconds = 0.0
        self._said = self._charted = self._measured = 0.0

    def show(self, subject: Subject) -> None:
        """From here on this is shown."""
        self.subject = subject
        self.photos = Photos(subject)
        self.controls = Controls(self.server, self.status, self.photos)
        self.charts = Charts(self.server)

    def saw(
        self, step: Step, done: int, steps: int, stage: str, psnr: float | None, ended: Callable[[], bool]
    ) -> float:
        """After each step: brings the page up to date, and stays for as long as the user has paused the fit.

        `done` and `steps` count over all stages; a pause is over, too, once `ended` says so. Returns the seconds that
        the fit was paused.
        """
        with self.allowance.earned():
            self._note(step, done, steps, psnr)
            self.allowance.share = self.controls.share
            self._update(step, stage)
            if done == steps:
                self.charts.draw()
                self._say(f"**{self.title}**: all {steps:,} steps are done; figures and files are being made")
        if not self.controls.paused or self.controls.take_step() or done == steps:
            return 0.0
        begun = time.perf_counter()
        with self.allowance.free(), self.allowance.earned():
            self._pause(step, stage, ended)
        return time.perf_counter() - begun

    def _note(self, step: Step, done: int, steps: int, psnr: float | None) -> None:
        self._done, self._steps = done, steps
        self._seconds = step.seconds if not self._seconds else 0.95 * self._seconds + 0.05 * step.seconds
        self.charts.loss.add(done, step.loss)
        if psnr is not None:
            self.charts.training.add(done, psnr)

    def _update(self, step: Step, stage: str) -> None:
        """What there is time for."""
        now = time.perf_counter()
        if not self.allowance.left or not self.server.get_clients():
            return
        try:
            if now - self._said > WORDS_SECONDS:
                self._say(self._words(step, stage))
            if now - self._charted > CHART_SECONDS:
                self._charted = now
                self.charts.draw()
            if now - self._measured > MEASURE_SECONDS and self.easel.painted:
                self._measured = now
                self._measure(step)
            self.easel.paint(partial(self._draw, step), self._version)
        except Exception as error:  # a page that fails is no reason to end hours of work
            self.status.error(in_words(error))

    @property
    def _version(self) -> int:
        return self._done + (self.controls.changes << 32)

    def _pause(self, step: Step, stage: str, ended: Callable[[], bool]) -> None:
        self._say(f"{self._words(step, stage)} · **paused**")
        self.charts.draw()
        while self.controls.paused and not self.controls.take_step() and not ended():
            try:
                painted = self.easel.paint(partial(self._draw, step), self._version)
            except Exception as error:
                self.status.error(in_words(error))
                painted = False
            if not painted:
                time.sleep(LOOK_SECONDS)

    def _words(self, step: Step, stage: str) -> str:
        left = (self._steps - self._done) * self._seconds
        words = [
            f"**{self.title}**, {stage}: step {self._done:,} of {self._steps:,}",
            plural(step.gaussians, "Gaussian"),
            f"loss {step.loss:.4f}",
            f"{1000 * self._seconds:.0f} ms a step",
            f"{_duration(left)} left",
        ]
        return " · ".join(words)

    def _say(self, text: str) -> None:
        self._said = time.perf_counter()
        self.status.say(text)
        if self._steps:
            self.controls.progress.value = 100 * self._done / self._steps

    def _draw(self, step: Step, camera: Cameras, moving: bool) -> UInt8[np.ndarray, "H W 3"]:
        assert self.subject is not None
        photo, share = self.photos.chosen, self.controls.photo_share
        views = self.subject.views(camera, photo.frame)
        with torch.no_grad():
            picture = as_picture(self.subject.draw(step, views, self.subject.background, moving))
        taken = self.photos.camera
        if share > 0 and same_pose(taken, camera):
            picture = laid_over(self.photos.pixels, taken, camera, picture, share)
        return picture

    def _measure(self, step: Step) -> None:
        name, psnr = self.photos.measure(step)
        if name != self.controls.measured:
            self.charts.watched.clear()
        self.controls.say_measured(name, psnr)
        self.charts.watched.add(self._done, psnr)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
