"""The page of an avatar in a real Chromium: sliders, timeline, posed file."""

import numpy as np
import pytest
import torch

from gs_reg.apps.avatar.files import open_avatar
from gs_reg.apps.view.avatar.page import AvatarPage
from gs_reg.apps.view.avatar.panels import Controls
from gs_reg.apps.view.drawing import camera_of
from gs_reg.apps.view.server import Address, served
from gs_reg.driving.video import video_frames
from gs_reg.geometry import transform_cameras
from gs_reg.io import load_splats
from gs_reg.render import render
from tests.apps.view.heads import write_avatar_run

from .clicks import click, handle_of, press
from .test_page import decibels
from .test_view import CLEAR, HEIGHT, WIDTH, complaints, connect, until


@pytest.fixture(scope="module")
def avatar(tmp_path_factory):
    return open_avatar(write_avatar_run(tmp_path_factory.mktemp("avatar") / "run"), torch.device("cpu"))


def test_expressions_motion_and_a_posed_file(browser, avatar, tmp_path):
    with served(Address(), "test") as server:
        page = AvatarPage(server, avatar, tmp_path)
        controls = Controls(page)
        connect(browser, f"http://127.0.0.1:{server.get_port()}")
        until(server.get_clients, "a browser that is connected")
        (client,) = server.get_clients().values()

        def is_drawn() -> np.ndarray:
            def right() -> bool:
                wanted = page.head.draw(camera_of(client.camera, WIDTH, HEIGHT), False)[:, CLEAR] / 255
                return decibels(browser.picture()[:, CLEAR], wanted) > 30

            until(right, "the picture of the avatar as it is posed")
            return browser.picture()[:, CLEAR]

        resting = is_drawn()

        click(browser, "expression")
        press(browser, "jawOpen", "End")
        until(lambda: float(page.head.pose.code[0]) == pytest.approx(avatar.info.hi[0]), "an open mouth")
        assert np.abs(is_drawn() - resting).max() > 0.1
        press(browser, "turn", "End")
        until(lambda: page.head.pose.turn == (45.0, 0.0, 0.0), "a turned head")
        click(browser, "reset")
        until(lambda: page.head.pose is page.head.rest, "the head at rest")
        assert decibels(is_drawn(), resting) > 35

        click(browser, "keyframes")
        click(browser, "add")
        until(lambda: "1 face" in browser.run("document.body.innerText"), "a face that is kept")
        page.set_turn((40.0, 0.0, 0.0))
        click(browser, "add")
        until(lambda: "2 faces" in browser.run("document.body.innerText"), "another")
        handle_of(server, "seconds a step").value = 0.2
        handle_of(server, "size").value = (WIDTH // 2, HEIGHT // 2)
        click(browser, "play the faces")
        until(lambda: page.motion is not None and len(page.motion) == 6 and page.frame > 0, "the faces play")
        click(browser, "record")
        until((tmp_path / "driven.json").is_file, "a recorded video")
        frames = [*video_frames(tmp_path / "driven.mp4")[0]]
        assert [frame.shape for frame in frames] == [(HEIGHT // 2, WIDTH // 2, 3)] * 6
        assert np.abs(frames[5].astype(int) - frames[0]).mean() > 1
        controls.player.pause()

        handle_of(server, "driven by").value = "B (held out)"
        assert page.motion is not None and len(page.motion) == 3
        click(browser, "driving")
        click(browser, "play")
        until(lambda: page.frame > 0, "the motion plays")
        click(browser, "pause")
        until(lambda: not controls.player.playing, "it pauses")
        is_drawn()
        assert torch.equal(page.head.pose.code, page.motion.codes[page.frame])

        click(browser, "picture")
        click(browser, "save posed .ply")
        until((tmp_path / "posed.ply").is_file, "a posed file")
        at = transform_cameras(
            page.head.world_from_page, camera_of(client.camera, WIDTH, HEIGHT).to(dtype=torch.float64)
        )
        saved = render(load_splats(tmp_path / "posed.ply"), at.to(dtype=torch.float32), backgrounds=torch.ones(1, 3))
        assert decibels(is_drawn(), saved.colors[0].clamp(0, 1).numpy()[:, CLEAR]) > 30

        handle_of(server, "drawn by").value = "browser"
        until(lambda: not page.canvas.on, "the browser draws")
        wanted = saved.colors[0].clamp(0, 1).numpy()[:, CLEAR]
        until(lambda: decibels(browser.picture()[:, CLEAR], wanted) > 18, "splats in the browser")
        assert complaints(browser) == []
        controls.close()
        page.close()
