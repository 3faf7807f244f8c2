"""The viewer in a real Chromium in real time: what is on the screen, and what its controls do."""

import contextlib
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gs_reg.apps.view.drawing import camera_of
from gs_reg.apps.view.panels.photos import same_pose
from gs_reg.apps.view.scene import add_panels
from gs_reg.apps.view.scene_page import Drawer, ScenePage
from gs_reg.apps.view.server import Address, served
from gs_reg.apps.view.source import open_shown
from gs_reg.io import save_splats
from gs_reg.render import RenderConfig
from tests.apps.conftest import command, usual_signals
from tests.apps.view.scenes import BACKGROUND, CAMERAS, crossing, drawn, write_run

from .chromium import Chromium
from .clicks import click, click_on
from .test_page import decibels

WIDTH, HEIGHT = 1100, 440
CLEAR = slice(320, 690)
"""Columns of the window with no panel over them; the middle of the picture is 550."""
HARMLESS = (
    "THREE.BufferGeometry.computeBoundingSphere(): Computed radius is NaN",  # of viser's empty geometries
    "THREE.Clock: This module has been deprecated",
    "GPU stall due to ReadPixels",  # where Chromium is asked for a screenshot
)
PATIENCE = 120


@dataclass
class Opened:
    browser: Chromium
    page: ScenePage

    @property
    def client(self) -> Any:
        (client,) = self.page.server.get_clients().values()
        return client

    @property
    def drawn(self) -> Any:
        return self.page.canvas.drawn(self.client.client_id)

    def control(self, label: str) -> Any:
        handles = self.page.server.gui._gui_input_handle_from_uuid.values()
        return next(handle for handle in handles if getattr(handle, "label", None) == label)

    def picture(self) -> np.ndarray:
        """What is on the screen where no panel is."""
        return self.browser.picture()[:, CLEAR]

    def expected(self, splats=None, look=None) -> np.ndarray:
        """What should be there, as the library draws it."""
        at = camera_of(self.client.camera, WIDTH, HEIGHT)
        if look is not None:
            return self.page.draw(at, look=look)[:, CLEAR] / 255
        return drawn(self.page.shown.splats if splats is None else splats, at)[:, CLEAR]

    def shows(self, **expected: Any) -> np.ndarray:
        """The picture once it is what it should be."""
        until(lambda: decibels(self.picture(), self.expected(**expected)) > 30, f"the picture of {expected}")
        return self.picture()


def until(condition, what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.05)


def complaints(browser: Chromium) -> list[str]:
    return [text for text in browser.complaints() if not text.startswith(HARMLESS) and "GPU stall" not in text]


def connect(browser: Chromium, url: str) -> None:
    browser.open(url, WIDTH, HEIGHT)


@contextlib.contextmanager
def page_of(browser: Chromium, source: Path, out: Path, drawer: Drawer = "server") -> Iterator[Opened]:
    with served(Address(), "test") as server:
        page = ScenePage(server, open_shown(source, out), drawer, torch.device("cpu"), RenderConfig())
        add_panels(page)
        connect(browser, f"http://127.0.0.1:{server.get_port()}")
        until(server.get_clients, "a browser that is connected")
        yield Opened(browser, page)
        page.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("view") / "run")


@pytest.fixture(scope="module")
def opened(browser, run, tmp_path_factory) -> Iterator[Opened]:
    """One page for the tests that leave it as they find it."""
    with page_of(browser, run, tmp_path_factory.mktemp("out")) as page:
        yield page


def test_a_file_in_the_command(browser, tmp_path):
    """The whole command: address, page, colours and occlusion, a browser that leaves, and the end."""
    save_splats(tmp_path / "a.ply", crossing())
    words = command("view", tmp_path / "a.ply", "--draw", "browser", "--out", tmp_path / "out")
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=usual_signals) as process:
        try:
            assert process.stderr is not None
            url = re.match(r"open (http://127\.0\.0\.1:\d+) ", process.stderr.readline())
            assert url and process.stderr.readline().startswith("from another machine: ssh -L ")
            assert "drawn by the browser" in process.stderr.readline()
            for _ in range(2):  # the first browser leaves, the server stays
                connect(browser, url[1])
                until(lambda: "1,800 Gaussians" in browser.run("document.body.innerText"), "the page says what it is")
                # the sheets meet in the middle column; red is nearer on the left, blue on the right
                at = {WIDTH // 2 + side * away: side for side in (-1, 1) for away in (25, 40, 60)}
                colors = {-1: [1, 0, 0], 1: [0, 0, 1]}
                until(
                    lambda at=at, colors=colors: all(
                        np.allclose(browser.picture()[HEIGHT // 2, x], colors[side], atol=0.05)
                        for x, side in at.items()
                    ),
                    "red on the left, blue on the right",
                )
                assert complaints(browser) == []
                assert {r.split("/")[2] for r in browser.requests() if r.startswith(("http", "ws"))} == {url[1][7:]}
        finally:
            process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(20) == 130 and rest == "gs-reg: interrupted\n"


def test_the_server_draws_as_the_library_does(opened):
    assert opened.page.drawer == "server"
    opened.shows()
    until(lambda: opened.drawn and not opened.drawn.moving, "the fine picture")
    assert (opened.drawn.width, opened.drawn.height) == (WIDTH, HEIGHT)
    assert decibels(opened.client.get_render(HEIGHT, WIDTH, timeout=60)[:, CLEAR] / 255, opened.expected()) > 30


def test_the_browser_draws_the_same_scene(opened):
    opened.page.set_drawer("browser")
    until(lambda: not opened.page.canvas.on, "that the browser draws")
    until(lambda: opened.page._handle is not None, "that it has the splats")
    opened.shows()
    opened.page.set_drawer("server")
    until(lambda: opened.page.canvas.on, "that the server draws")


def test_a_slider_in_the_page_hides_what_few_photos_confirm(opened):
    before, counts = opened.shows(), opened.page.confidence
    opened.browser.run("document.querySelector('[role=slider]').focus()")
    for _ in range(15):  # of a tenth each: what 1.5 photos on average see
        opened.browser.key("ArrowRight")
    until(lambda: opened.control("confirmed by").value == pytest.approx(1.5), "that the slider has moved")
    left = opened.page.shown.splats.rows(counts >= 1.5)
    assert 100 < len(left) < 1600
    assert decibels(opened.shows(splats=left), before) < 25
    until(lambda: "Gaussians hidden" in opened.browser.run("document.body.innerText"), "that the page says it")
    opened.control("confirmed by").value = 0.0
    opened.shows()


def test_looks(opened):
    assert [*opened.page.looks] == ["colour", "depth", "alpha", "confidence"]  # no labels in this run
    pictures = {}
    for look in ("depth", "alpha", "confidence", "colour"):
        opened.control("show").value = opened.page.looks[look]
        pictures[look] = opened.shows(look=look)
    row, column = HEIGHT // 2, 550 - CLEAR.start - 30
    assert pictures["alpha"][row, column].min() > 0.95 and pictures["alpha"][10, 10].max() < 0.05
    assert np.ptp(pictures["depth"][10, 10]) < 0.03 and np.ptp(pictures["depth"][row, column]) > 0.2  # grey: nothing


def test_a_photo_lies_over_what_is_drawn_from_its_camera(opened):
    opened.control("photo | render").value = 1.0
    opened.page.go(opened.client, CAMERAS["b.png"])
    until(lambda: same_pose(camera_of(opened.client.camera, 8, 8), CAMERAS["b.png"]), "that the camera is there")
    rendered = opened.expected()
    inside = np.abs(rendered - BACKGROUND).max(-1) > 0.5  # the sheets, which the photo shows as a negative
    assert inside.sum() > 2000
    until(lambda: decibels(opened.picture()[inside], 1 - rendered[inside]) > 15, "the photo")
    opened.control("photo | render").value = 0.0
    opened.shows()
    opened.page.go(opened.client, opened.page.shown.first)


def test_the_cameras_are_shown_by_a_checkbox_in_the_page(opened):
    at = CAMERAS["b.png"]
    opened.page.go(opened.client, at)
    until(lambda: same_pose(camera_of(opened.client.camera, 8, 8), at), "that the camera is there")
    before = opened.shows()
    show_tab(opened, "photos")
    click_on(
        opened.browser, "[...document.querySelectorAll('input[type=checkbox]')].find((box) => box.checkVisibility())"
    )
    until(lambda: opened.control("show cameras").value, "that the box is ticked")
    until(lambda: decibels(opened.picture(), before) < 28, "the cameras")
    opened.control("show cameras").value = False
    opened.shows()
    opened.page.go(opened.client, opened.page.shown.first)
    assert complaints(opened.browser) == []


def test_what_is_cropped_is_saved(opened):
    from gs_reg.io import load_splats

    show_tab(opened, "clean")
    opened.control("crop box").value = True
    opened.control("box size").value = (1.0, 0.5, 10.0)
    until(lambda: len(opened.page.kept.splats) < 900, "that the box crops")
    name = opened.control("file")
    name.value = "half"
    press(opened, "save what is shown")
    saved = opened.page.shown.out / "half.ply"
    until(saved.is_file, "the file")
    assert len(load_splats(saved)) == len(opened.page.kept.splats)
    torch.testing.assert_close(
        load_splats(saved).means, opened.page.shown.opened.splats.rows(opened.page.rows()).means, rtol=0, atol=0
    )
    name.value = "../half"
    press(opened, "save what is shown")
    until(
        lambda: "expected a plain file name" in opened.browser.run("document.body.innerText"), "the error in the page"
    )
    opened.control("crop box").value = False
    until(lambda: len(opened.page.kept.splats) == 1800, "that all are back")


def show_tab(opened: Opened, name: str) -> None:
    click(opened.browser, name)


def press(opened: Opened, label: str) -> None:
    click(opened.browser, label)
