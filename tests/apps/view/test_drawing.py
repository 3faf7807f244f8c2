"""Drawing for browsers: coarse while moving, fine at rest, newest first, one browser apart from the others."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gs_reg.apps.view.drawing import LEAST_SHARE, Canvas, camera_of
from gs_reg.apps.view.navigation import field_of_view, jump, level_camera, vertical_fov
from gs_reg.types import Cameras

from .scenes import CAMERAS

WIDTH, HEIGHT = 640, 480


class Scene:
    def __init__(self):
        self.sent = []

    def set_background_image(self, picture, format, jpeg_quality):
        self.sent.append(picture)


class Camera:
    def __init__(self):
        self.wxyz, self.position, self.fov = np.array([1.0, 0, 0, 0]), np.zeros(3), 1.0
        self.image_width, self.image_height, self.callbacks = WIDTH, HEIGHT, []

    def on_update(self, callback):
        self.callbacks.append(callback)

    def move(self, x):
        self.position = np.array([x, 0, 0])
        for callback in self.callbacks:
            callback(self)


def browser(number=0):
    return SimpleNamespace(client_id=number, scene=Scene(), camera=Camera(), flush=lambda: None)


class Server:
    def on_client_connect(self, join):
        self.join = join

    def on_client_disconnect(self, leave):
        self.leave = leave


def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def canvas(draw, failed=pytest.fail, on=True):
    server = Server()
    return server, Canvas(server, draw, lambda: (1, 2, 3), failed, on)


def blank(camera):
    return np.zeros((camera.height, camera.width, 3), np.uint8)


def test_coarse_while_moving_and_fine_at_rest():
    drawn = []

    def draw(camera, moving):
        drawn.append((moving, camera.width, float(camera.centers[0, 0])))
        return blank(camera)

    server, board = canvas(draw)
    one = browser()
    server.join(one)
    until(lambda: drawn and not drawn[-1][0])
    assert drawn == [(True, WIDTH // 2, 0.0), (False, WIDTH, 0.0)]
    for step in range(1, 30):
        one.camera.move(float(step))
        time.sleep(0.01)
    until(lambda: not drawn[-1][0] and len(drawn) > 2)
    assert all(moving for moving, _, _ in drawn[2:-1]) and drawn[-1] == (False, WIDTH, 29.0)
    assert len(one.scene.sent) == len(drawn) and one.scene.sent[-1].shape == (HEIGHT, WIDTH, 3)
    board.close()


def test_of_many_changes_the_newest_counts():
    begun, go, seen = threading.Event(), threading.Event(), []

    def draw(camera, moving):
        seen.append(float(camera.centers[0, 0]))
        begun.set()
        go.wait(30)
        return blank(camera)

    server, board = canvas(draw)
    one = browser()
    server.join(one)
    begun.wait(30)
    for step in range(1, 20):
        one.camera.move(float(step))
    go.set()
    until(lambda: seen[-1] == 19.0)
    assert seen[:2] == [0.0, 19.0]
    board.close()


def test_a_slow_machine_draws_smaller_and_a_quick_one_larger():
    seconds = 0.3

    def draw(camera, moving):
        time.sleep(seconds * (camera.width / WIDTH) ** 2 if moving else 0)
        return blank(camera)

    server, board = canvas(draw)
    one = browser()
    server.join(one)
    shares = []
    for step in range(8):
        one.camera.move(float(step))
        number = len(one.scene.sent)
        until(lambda number=number: len(one.scene.sent) > number)
        shares.append(one.scene.sent[-1].shape[1] / WIDTH)
    assert LEAST_SHARE <= min(shares) < 0.85  # 0.09 of 0.3 s is a share of 0.55
    last = board.drawn(0)
    assert last is not None and last.number >= 8
    board.close()


def test_an_error_is_said_and_the_next_picture_drawn():
    said = []

    def draw(camera, moving):
        if not said:
            raise ValueError("no splats")
        return blank(camera)

    server, board = canvas(draw, said.append)
    one = browser()
    server.join(one)
    until(lambda: said)
    assert said == ["cannot draw: ValueError: no splats"]
    one.camera.move(1.0)
    until(lambda: one.scene.sent)
    board.close()


def test_a_browser_that_leaves_and_one_that_stays():
    server, board = canvas(lambda camera, moving: blank(camera))
    one, other = browser(0), browser(1)
    server.join(one)
    server.join(other)
    until(lambda: one.scene.sent and other.scene.sent)
    server.leave(one)
    until(lambda: "painter of client 0" not in [thread.name for thread in threading.enumerate()])
    count = len(other.scene.sent)
    board.refresh()
    until(lambda: len(other.scene.sent) > count)
    board.close()
    until(lambda: not any("painter" in thread.name for thread in threading.enumerate()))


def test_off_it_is_one_colour():
    server, board = canvas(lambda camera, moving: blank(camera), on=False)
    one = browser()
    server.join(one)
    until(lambda: one.scene.sent)
    assert one.scene.sent[0].tolist() == [[[1, 2, 3]]]
    board.on = True
    until(lambda: one.scene.sent[-1].shape[0] > 1)
    board.close()


class Client:
    """As viser moves cameras: what it is told is what it has."""

    def __init__(self):
        self.camera = SimpleNamespace(fov=1.0, image_width=WIDTH, image_height=HEIGHT)

    def atomic(self):
        return threading.Lock()


def test_a_jump_is_to_exactly_that_camera():
    """From look_at and up, viser makes the rotation as here; roll included."""
    pose = CAMERAS["b.png"].world_from_camera[0].double()
    roll = torch.eye(4, dtype=torch.float64)
    roll[:2, :2] = torch.tensor([[0.9, -0.43588989], [0.43588989, 0.9]])
    at = Cameras(torch.linalg.inv(pose @ roll)[None], CAMERAS["b.png"].Ks.double(), 80, 60)
    client = Client()
    jump(client, at, torch.tensor([0.0, -1, 0]), 3.0, 0.7)
    eye, look, up = (torch.tensor(getattr(client.camera, name)) for name in ("position", "look_at", "up_direction"))
    back = Cameras.look_at(eye, look, up, 0.7, 80, 60)
    torch.testing.assert_close(back.viewmats.float(), at.viewmats.float(), rtol=0, atol=1e-5)
    assert float((look - eye).norm()) == pytest.approx(3.0) and client.camera.fov == 0.7


def test_a_window_of_any_shape_shows_the_whole_photo():
    at = CAMERAS["a.png"]  # its principal point is off the middle
    for aspect in (0.5, 4 / 3, 3.0):
        handle = SimpleNamespace(wxyz=[1, 0, 0, 0], position=[0, 0, 0], fov=field_of_view(at, aspect))
        shown = camera_of(handle, round(300 * aspect), 300)
        corners = torch.tensor([[0.0, 0], [at.width, 0], [0, at.height], [at.width, at.height]])
        rays = (corners - at.Ks[0, :2, 2]) / at.Ks[0, [0, 1], [0, 1]]
        pixels = rays * shown.Ks[0, [0, 1], [0, 1]] + shown.Ks[0, :2, 2]
        size = torch.tensor([shown.width, shown.height])
        assert (pixels > -0.6).all() and (pixels < size + 0.6).all()
        assert min(float(pixels.min()), float((size - pixels).min())) < 1


def test_levelling_keeps_the_line_of_sight():
    level = level_camera(CAMERAS["b.png"], torch.tensor([0.0, 0, 1]))
    torch.testing.assert_close(level.centers, CAMERAS["b.png"].centers, rtol=0, atol=1e-6)
    torch.testing.assert_close(level.viewmats[0, 2], CAMERAS["b.png"].viewmats[0, 2], rtol=0, atol=1e-5)
    assert abs(float(level.viewmats[0, 0, 2])) < 1e-6  # right is across the new up
    assert vertical_fov(level) == pytest.approx(vertical_fov(CAMERAS["b.png"]), rel=1e-5)
