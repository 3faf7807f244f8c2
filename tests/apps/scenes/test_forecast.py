"""The plan that is printed first: stages, minutes and memory from stored rates."""

import dataclasses

import pytest
import torch

from gs_reg.apps import cli
from gs_reg.apps.runs import progress
from gs_reg.apps.scenes.config import Config
from gs_reg.apps.scenes.forecast import announce_plan, forecast
from gs_reg.data_tools.dataset import read_dataset

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pair():
    return read_dataset("motorcycle")


def test_the_demo_pair_takes_minutes_as_was_measured(pair):
    """600 steps of best on two cores: 13 s of depth, 160 ms a step (2.8 minutes in docs/results.md)."""
    config = Config.of_preset("best")
    config = dataclasses.replace(
        config, free=dataclasses.replace(config.free, train=dataclasses.replace(config.free.train, steps=600))
    )
    ahead = forecast(config, pair, CPU, 2)
    assert 1.6 < ahead.minutes < 3.4 and 180_000 < ahead.gaussians < 208_000 and 1 < ahead.gigabytes < 3


def test_more_steps_and_fewer_cores_take_longer(pair):
    ci, best, paper = (forecast(Config.of_preset(name), pair, CPU, 2) for name in ("ci", "best", "paper"))
    assert ci.minutes < 1 < best.minutes < paper.minutes
    assert forecast(Config.of_preset("best"), pair, CPU, 1).minutes > 1.8 * best.minutes


def test_a_gpu_is_not_guessed(pair):
    assert forecast(Config.of_preset("best"), pair, torch.device("cuda"), 2).minutes is None


def test_the_plan_in_words(pair, monkeypatch):
    said = []
    monkeypatch.setattr("gs_reg.apps.scenes.forecast.say", said.append)
    announce_plan(Config.of_preset("ci"), pair, CPU)
    text = "\n".join(said)
    assert "10 steps on the rays of the photos, then 20 steps free of the rays" in text
    assert "drawn by native" in text and "about" in text and "GB of memory" in text and "<time>" in text


def test_long_work_says_so_every_ten_seconds_where_there_is_no_terminal(monkeypatch):
    said, now = [], [100.0]
    monkeypatch.setattr(progress, "say", said.append)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.stage_bar("depth") as report:
        for second in range(25):
            now[0] = 100.0 + second
            report("sweeping", second / 25)
    assert said == ["depth: sweeping, 40%", "depth: sweeping, 80%"]
    with progress.stage_bar("video") as report:
        assert list(progress.counted("ab", report, "frame")) == ["a", "b"]


def test_a_limit_on_the_gaussians_is_no_estimate(photos, capsys):
    words = ["reconstruct", str(photos), "--preset", "ci", "--steps", "2", "--dry-run"]
    assert cli.main([*words, "--model.max-gaussians", "500"]) == 0
    text = capsys.readouterr().err
    assert "at most 500 Gaussians, 1 step on the rays of the photos, then 1 step free" in text
    assert cli.main(words) == 0
    assert " about " in capsys.readouterr().err.split("Gaussians")[0]
