"""The live page of a fit in a real Chromium: the picture, a pause, a step, a photo, curves."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from gs_reg.apps.runs.training import step_psnr
from gs_reg.apps.view.drawing import camera_of
from gs_reg.apps.view.live.page import LivePage
from gs_reg.apps.view.live.subject import LivePhoto, Subject
from gs_reg.apps.view.server import Address, served
from gs_reg.fit import FitConfig
from gs_reg.models.free import Free, FreeConfig
from gs_reg.shot import Shot
from gs_reg.stages import Stage, Training
from gs_reg.types import Views
from tests.apps.view.scenes import BACKGROUND, CAMERAS, crossing, drawn

from .clicks import click, handle_of
from .test_page import decibels
from .test_view import CLEAR, HEIGHT, WIDTH, complaints, connect, until

STEPS, CONFIG = 5000, FreeConfig(opacity=0.9)


def views_of(name: str) -> Views:
    """What the crossing sheets look like from a camera; the held-out photo is a negative, as no splats become."""
    at, picture = CAMERAS[name], torch.from_numpy(drawn(crossing(), CAMERAS[name]))[None]
    return Views(at, 1 - picture if name == "c.png" else picture, (name,))


def training() -> Training:
    """From grey sheets to red and blue ones."""
    grey, background = replace(crossing(), sh=torch.zeros_like(crossing().sh)), torch.tensor(BACKGROUND)
    shots = [Shot(views_of(name), background=background) for name in ("a.png", "b.png")]

    def cost(context):
        return {"photometric": (context.image.colors - context.views.photos).abs().mean()}

    def begin(_):
        return Free.from_splats(grey, CONFIG)

    stage = Stage(
        "free", FitConfig(STEPS), lambda step: shots[step % 2], cost, begin, lambda tensors: Free(dict(tensors), CONFIG)
    )
    return Training.begin([stage])


class Fit(threading.Thread):
    """As `train` does it, with at most 20 steps a second."""

    def __init__(self, page: LivePage) -> None:
        super().__init__(daemon=True)
        self.page, self.training, self.over = page, training(), False

    def run(self) -> None:
        for step in self.training:
            self.page.saw(step, self.training.step, STEPS, "free", step_psnr(step), lambda: self.over)
            time.sleep(0.05)
            if self.over:
                return


@pytest.fixture
def fit():
    """A fit for a page; over with the test, also with one that fails: native code runs in its thread."""
    begun: list[Fit] = []

    def begin(page: LivePage) -> Fit:
        begun.append(Fit(page))
        return begun[-1]

    yield begin
    for one in begun:
        one.over = True
        if one.is_alive():
            one.join(60)
            assert not one.is_alive()


def test_a_fit_is_seen_paused_and_stepped(browser, fit):
    with served(Address(), "test") as server:
        page = LivePage(server, "two sheets")
        fit = fit(page)
        photos = [LivePhoto(name, CAMERAS[name], name == "c.png", lambda name=name: views_of(name)) for name in CAMERAS]
        page.show(Subject(photos, torch.tensor(BACKGROUND), crossing().means))
        connect(browser, f"http://127.0.0.1:{server.get_port()}")
        until(server.get_clients, "a browser that is connected")
        (client,) = server.get_clients().values()
        fit.start()

        def text() -> str:
            return browser.run("document.body.innerText")

        until(lambda: f"of {STEPS:,}" in text() and "left" in text(), "how far it is")
        until(lambda: "c.png (held out): " in text() and " dB" in text(), "a figure of the held-out photo")
        until(lambda: browser.run("document.querySelectorAll('.uplot canvas').length") >= 1, "curves")
        click(browser, "pause")
        until(lambda: "paused" in text(), "a pause")
        done = fit.training.step

        def right() -> bool:
            model, at = fit.training.state.model, page.subject.views(camera_of(client.camera, WIDTH, HEIGHT), None)
            with torch.no_grad():
                wanted = drawn(model.canonical(), at.cameras)
            return decibels(browser.picture()[:, CLEAR], wanted[:, CLEAR]) > 30

        until(right, "the splats as they are now")
        assert fit.training.step == done
        click(browser, "step")
        until(lambda: fit.training.step == done + 1, "one step")
        time.sleep(0.5)
        assert fit.training.step == done + 1

        handle_of(server, "photo | render").value = 1.0
        click(browser, "this")
        corner = CAMERAS["c.png"].width // 2 - 8, CAMERAS["c.png"].height // 2
        color = views_of("c.png").photos[0, corner[1], corner[0]].numpy()

        def photo() -> bool:
            return bool(np.abs(browser.picture()[HEIGHT // 2, CLEAR] - color).max(-1).min() < 0.06)

        until(photo, "the photo from its camera")
        click(browser, "continue")
        until(lambda: fit.training.step > done + 3, "it goes on")
        assert complaints(browser) == []
