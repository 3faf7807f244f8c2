"""nerfstudio's viewer in a real browser: our controls are there, and a click reaches our code."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gs_reg import load_splats
from gs_reg.apps.ns_plugin.bridge import read_nerfstudio
from tests.browser.chromium import PROGRAM, Chromium

pytest.importorskip("nerfstudio", reason="nerfstudio has a venv of its own: make test-nerfstudio")
pytestmark = pytest.mark.nerfstudio

CONTROLS = ("Splat scale", "Opacity floor", "SH degree", "Colour", "Confidence cut", "Stay near the photos", "Save PLY")
PATIENCE = 240


def wait_for(what, found):
    end = time.monotonic() + PATIENCE
    while not (value := found()):
        assert time.monotonic() < end, f"no {what} within {PATIENCE} s"
        time.sleep(0.5)
    return value


@pytest.fixture
def address(trained, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("ns-viewer")
    words = ["--load-config", trained.config, "--viewer.websocket-host", "127.0.0.1", "--viewer.websocket-port", port]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([program, *map(str, words)], cwd=tmp_path, stdout=log, stderr=log, env=os.environ)
        try:

            def listening():
                assert process.poll() is None, (tmp_path / "log").read_text()
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0

            wait_for("viewer", listening)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


@pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed")
def test_controls_are_there_and_a_click_writes_the_splats(trained, address, tmp_path):
    browser = Chromium()
    try:
        browser.open(address, 1200, 1250)
        text = wait_for("controls", lambda: (t := browser.run("document.body.innerText")) and "Save PLY" in t and t)
        assert [name for name in CONTROLS if name not in text] == []
        wait_for("picture", lambda: np.std(browser.picture()[100:800, 50:700]) > 0.03)
        click = "[...document.querySelectorAll('button')].find((b) => b.innerText.includes('Save PLY')).click()"
        browser.run(click)
        wait_for("file", (tmp_path / "splats.ply").is_file)
        if folder := os.environ.get("GS_REG_PICTURES"):
            from PIL import Image

            Image.fromarray((browser.picture() * 255).astype(np.uint8)).save(Path(folder) / "nerfstudio_viewer.png")
    finally:
        browser.close()
    assert len(load_splats(tmp_path / "splats.ply")) == len(read_nerfstudio(trained.config).splats)
