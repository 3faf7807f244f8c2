"""The page of an edit in a real Chromium: before and after, a click on a part, its mask."""

import torch

from gs_reg.apps.view.drawing import camera_of
from gs_reg.apps.view.edit.source import open_edit
from gs_reg.apps.view.scene import add_panels
from gs_reg.apps.view.scene_page import ScenePage
from gs_reg.apps.view.server import Address, served
from gs_reg.render import RenderConfig
from tests.apps.view.edits import NAMES, write_edit_run

from .clicks import handle_of
from .test_page import decibels
from .test_view import CLEAR, HEIGHT, WIDTH, complaints, connect, until


def test_before_after_a_click_and_a_mask(browser, tmp_path):
    edit = open_edit(write_edit_run(tmp_path / "run"), None)
    with served(Address(), "test") as server:
        page = ScenePage(server, edit.shown, "server", torch.device("cpu"), RenderConfig())
        add_panels(page, edit)
        connect(browser, f"http://127.0.0.1:{server.get_port()}")
        until(server.get_clients, "a browser that is connected")
        (client,) = server.get_clients().values()

        def shows(channel: int, what: str) -> None:
            """Left of the middle is of this colour, and all is as drawn here."""

            def right() -> bool:
                picture = browser.picture()
                wanted = page.draw(camera_of(client.camera, WIDTH, HEIGHT)) / 255
                color = picture[HEIGHT // 2, WIDTH // 2 - 60]
                return decibels(picture[:, CLEAR], wanted[:, CLEAR]) > 30 and int(color.argmax()) == channel

            until(right, what)

        shows(1, "green after the edit")
        text = browser.run("document.body.innerText")
        assert "a green sheet" in text and all(name in text for name in NAMES[1:])
        handle_of(server, "show").value = "before the edit"
        shows(0, "red before it")
        for kind in ("mousePressed", "mouseReleased"):  # right of the middle, where blue is nearer
            browser.mouse(
                kind, WIDTH // 2 + 60, HEIGHT // 2, button="left", buttons=int(kind == "mousePressed"), clickCount=1
            )
        until(lambda: handle_of(server, "part").value == NAMES[2], "the part that was clicked on")
        until(lambda: handle_of(server, "show").value == "mask", "its mask")
        until(lambda: NAMES[2] in browser.run("document.body.innerText"), "what was picked")
        assert complaints(browser) == []
        page.close()
