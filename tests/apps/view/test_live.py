"""The live page of a fit: the same result, its share of the time, its curves, and how it fails."""

import json
import math
import signal
import socket
import threading
import time

import numpy as np
import pytest

from gs_reg.apps import cli
from gs_reg.apps.view.live import history
from gs_reg.apps.view.live.allowance import Allowance
from gs_reg.apps.view.live.history import Curve, aligned
from gs_reg.apps.view.live.page import LivePage
from gs_reg.io import checkpoint

from .looking import looked_at, weights

FLAGS = ("--preset", "ci", "--steps", "10", "--device", "cpu", "--checkpoint-minutes", "inf", "--stop-after", "train")


def reconstruct(photos, out, *more: str) -> int:
    return cli.main(["reconstruct", str(photos), *FLAGS, "--out", str(out), *more])


def test_the_result_is_the_same_to_the_bit(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(Allowance, "left", True)  # after every step there is a picture
    assert reconstruct(photos, tmp_path / "without") == 0
    client = looked_at(monkeypatch)
    assert reconstruct(photos, tmp_path / "with", "--view") == 0
    assert len(client.scene.pictures) == 10
    assert client.scene.pictures[-1].std() > 10  # it shows something
    assert weights(tmp_path / "with") == weights(tmp_path / "without")
    for name in ("splats.ply", "config.yaml"):
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()


def test_a_picture_that_fails_does_not_end_the_fit(photos, tmp_path, monkeypatch, capsys):
    client = looked_at(monkeypatch)
    monkeypatch.setattr(client.scene, "set_background_image", lambda *_, **__: 1 / 0)
    assert reconstruct(photos, tmp_path / "run", "--view") == 0
    assert "division by zero" in capsys.readouterr().err


def test_a_port_that_is_taken_is_one_line_and_no_run(photos, tmp_path, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert reconstruct(photos, tmp_path / "run", "--view", "--view-port", str(port)) == 2
    assert f"--view-port {port}: in use" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--view-port", "8080"], "--view-port: no effect without --view"),
        (["--view", "--view-port", "70000"], "--view-port: expected 1 to 65535"),
        (["--view", "--stop-after", "init"], "--view: no effect"),
    ],
)
def test_flags_that_cannot_be(photos, tmp_path, capsys, flags, said):
    assert reconstruct(photos, tmp_path / "run", *flags) == 2
    assert said in capsys.readouterr().err


def test_a_pause_ends_with_a_signal_and_is_no_time_of_the_run(photos, tmp_path, monkeypatch):
    """Paused at the first step for two seconds, then ended."""
    looked_at(monkeypatch)
    show, begun = LivePage.show, time.perf_counter()

    def paused(page, subject):
        show(page, subject)
        page.controls._paused = True
        threading.Timer(2.0, signal.raise_signal, [signal.SIGTERM]).start()

    monkeypatch.setattr(LivePage, "show", paused)
    assert reconstruct(photos, tmp_path / "run", "--view") == 143
    status, newest = (
        json.loads((tmp_path / "run/status.json").read_text()),
        checkpoint.latest(tmp_path / "run/checkpoints"),
    )
    assert status["state"] == "interrupted" and status["step"] == 1
    assert newest is not None
    state = checkpoint.load(newest).state
    assert state["done"] == 1 and state["seconds"] < time.perf_counter() - begun - 1.9


def test_a_page_takes_no_more_than_its_share():
    """Steps of 20 ms; a page that wants 70 ms whenever it may."""
    now = [0.0]
    allowance, spent = Allowance(lambda: now[0]), 0.0
    for _ in range(2000):
        now[0] += 0.02
        with allowance.earned():
            if allowance.left:
                now[0] += 0.07
                spent += 0.07
    assert 0.04 * now[0] < spent < allowance.share * now[0] + 0.07


def test_time_that_the_fit_does_not_wait_for_costs_nothing():
    now = [0.0]
    allowance = Allowance(lambda: now[0])
    with allowance.free(), allowance.earned():
        now[0] += 100.0
    assert allowance.left


def test_curves_stay_small_and_keep_their_means(monkeypatch):
    monkeypatch.setattr(history, "MOST", 10)
    curve = Curve()
    for step in range(1000):
        curve.add(step, float(step % 2))
    assert 5 <= len(curve.points) <= 10
    assert all(value == 0.5 for _, value in curve.points)
    steps = [step for step, _ in curve.points]
    assert steps == sorted(steps) and steps[-1] > 800


def test_curves_of_other_steps_share_an_axis():
    one, other = Curve(), Curve()
    for step, value in ((1, 1.0), (3, 3.0)):
        one.add(step, value)
    other.add(2, 7.0)
    steps, a, b = aligned(one, other)
    assert steps.tolist() == [1, 2, 3] and a.tolist() == [1, 2, 3]
    assert b[1] == 7 and np.isnan(b[[0, 2]]).all()
    assert all(math.isnan(v) for v in aligned(one, Curve())[2])
