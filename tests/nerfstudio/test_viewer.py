"""nerfstudio's viewer in a real browser: it shows the splats from the first photo on, and our controls act."""

import math
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gs_reg import load_splats, render
from gs_reg.apps.ns_plugin.bridge import read_nerfstudio
from gs_reg.data_tools.dataset import read_dataset
from gs_reg.geometry import transform_cameras
from gs_reg.types import Cameras
from tests.browser.chromium import PROGRAM, Chromium
from tests.browser.clicks import click, press

pytest.importorskip("nerfstudio", reason="nerfstudio has a venv of its own: make test-nerfstudio")
pytestmark = pytest.mark.nerfstudio

from gs_reg.apps.ns_plugin.controls import AHEAD  # noqa: E402

CONTROLS = ("Splat scale", "Opacity floor", "SH degree", "Colour", "Confidence cut", "Stay near the photos", "Save PLY")
PATIENCE = 240
FIELD_OF_VIEW = math.radians(75)
"""Vertical, of viser's page."""
BEHIND = 38 / 255, 42 / 255, 55 / 255
"""The colour behind splats in nerfstudio's viewer."""
SPREAD = 0.1
"""Least standard deviation of a picture that shows something."""
ROWS = 60
"""Pictures are compared at this height: nerfstudio's are JPEGs of at most 512 pixels, and coarser while it is busy."""


def wait_for(what, found):
    """The first true value; `found` may raise AssertionError, whose words then stand for the failure."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            if value := found():
                return value
            words = ""
        except AssertionError as error:
            words = f": {error}"
        if time.monotonic() > end:
            pytest.fail(f"no {what} within {PATIENCE} s{words}")
        time.sleep(0.5)


@pytest.fixture
def address(trained, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program, log = Path(sys.executable).with_name("ns-viewer"), tmp_path / "log"
    words = ["--load-config", trained.config, "--viewer.websocket-host", "127.0.0.1", "--viewer.websocket-port", port]
    with log.open("w") as file:
        process = subprocess.Popen([program, *map(str, words)], cwd=tmp_path, stdout=file, stderr=file)
    try:

        def told():
            if process.poll() is not None:
                pytest.fail(log.read_text())
            return f"http://127.0.0.1:{port}" in log.read_text()

        wait_for("address of the viewer", told)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def first_picture(trained, aspect: float) -> np.ndarray:
    """Our render from a little before the camera of the first training photo, in a window of the browser."""
    found, dataset = read_nerfstudio(trained.config), read_dataset(trained.data)
    to_theirs = torch.linalg.inv(found.source_from_world) @ dataset.source_from_world
    photo = transform_cameras(to_theirs, dataset.frame(dataset.train[0]).camera.to(dtype=torch.float64))
    viewmats = photo.viewmats.float()
    viewmats[:, 2, 3] -= AHEAD
    height, width = 4 * ROWS, round(4 * ROWS * aspect)
    focal = height / 2 / math.tan(FIELD_OF_VIEW / 2)
    K = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    camera, background = Cameras(viewmats, K[None], width, height), torch.tensor([BEHIND])
    with torch.no_grad():
        return render(found.splats, camera, backgrounds=background).colors[0].clamp(0, 1).numpy()


def shrunk(picture: np.ndarray) -> np.ndarray:
    image = Image.fromarray((picture * 255).round().astype(np.uint8))
    width = round(ROWS * image.width / image.height)
    return np.asarray(image.resize((width, ROWS), Image.Resampling.BOX)) / 255


def view(browser: Chromium) -> np.ndarray:
    """What the page shows of the scene; its canvas is the last one, beside the panel."""
    rectangle = "[...document.querySelectorAll('canvas')].at(-1).getBoundingClientRect()"
    box = browser.run(f"(({{x, y, width, height}}) => [x, y, width, height])({rectangle})")
    x, y, width, height = (round(value) for value in box)
    return browser.picture()[y : y + height, x : x + width]


def like_ours(browser: Chromium, trained) -> bool:
    picture = view(browser)
    expected = shrunk(first_picture(trained, picture.shape[1] / picture.shape[0]))
    assert expected.std(axis=(0, 1)).max() > SPREAD, "our own render shows nothing"
    shown = shrunk(picture)
    error = float(np.abs(shown[:, : expected.shape[1]] - expected[:, : shown.shape[1]]).mean())
    assert error < 0.03, (
        f"the view of {picture.shape[1]}x{picture.shape[0]} pixels differs from our render by {error:.3f}"
    )
    return True


@pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed")
def test_splats_are_drawn_and_controls_act(trained, address, tmp_path):
    browser = Chromium()
    try:
        browser.open(address, 1200, 1250)
        text = wait_for("controls", lambda: (t := browser.run("document.body.innerText")) and "Save PLY" in t and t)
        assert [name for name in CONTROLS if name not in text] == []
        wait_for("picture like ours", lambda: like_ours(browser, trained))
        if folder := os.environ.get("GS_REG_PICTURES"):
            Image.fromarray((browser.picture() * 255).astype(np.uint8)).save(Path(folder) / "nerfstudio_viewer.png")
        press(browser, "Opacity floor", "End")
        wait_for("empty picture", lambda: np.abs(shrunk(view(browser)) - BEHIND).mean() < 0.01)
        click(browser, "Save PLY")
        wait_for("file", (tmp_path / "splats.ply").is_file)
    finally:
        browser.close()
    assert len(load_splats(tmp_path / "splats.ply")) == len(read_nerfstudio(trained.config).splats)
