"""--log tensorboard and --eval-every: what is told, that it changes no bit, nothing told twice."""

import json
import shutil

import pytest

from gs_reg.apps import cli
from gs_reg.apps.runs.board import Watching

STEPS = 24
FLAGS = ("--preset", "ci", "--steps", STEPS, "--checkpoint-every", 10, "--stop-after", "train", "-q")


def gs_reg(*words) -> int:
    return cli.main([str(word) for word in words])


def events(run) -> list[dict]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def board(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(run / "tb"), size_guidance={"scalars": 0, "images": 0})
    read.Reload()
    return read


@pytest.fixture(scope="module")
def plain(photos, tmp_path_factory):
    run = tmp_path_factory.mktemp("plain") / "run"
    assert gs_reg("reconstruct", photos, *FLAGS, "--out", run) == 0
    return run


@pytest.fixture(scope="module")
def logged(photos, tmp_path_factory):
    run = tmp_path_factory.mktemp("logged") / "run"
    assert gs_reg("reconstruct", photos, *FLAGS, "--out", run, "--log", "tensorboard", "--eval-every", 8) == 0
    return run


def test_the_bits_are_the_same(plain, logged):
    assert (plain / "splats.ply").read_bytes() == (logged / "splats.ply").read_bytes()
    assert not (plain / "tb").exists() and not any("held_out" in event for event in events(plain))


def test_scalars_are_those_of_the_events(logged):
    read, told = board(logged), [event for event in events(logged) if "loss" in event]
    scalars = read.Scalars("train/loss")
    assert [s.step for s in scalars] == [event["step"] for event in told] == [1, 10, 20, 24]
    assert [s.value for s in scalars] == pytest.approx([event["loss"] for event in told], rel=1e-6)
    assert {"train/psnr", "train/gaussians", "train/ms", "held_out/psnr"} <= set(read.Tags()["scalars"])
    assert any(name.startswith("train/terms/") for name in read.Tags()["scalars"])


def test_held_out_views_are_measured_as_eval_does(logged):
    told = [event for event in events(logged) if "held_out" in event]
    assert [event["step"] for event in told] == [8, 16, 24]
    read = board(logged)
    assert [s.step for s in read.Scalars("held_out/psnr")] == [8, 16, 24]
    assert gs_reg("eval", logged, "-q") == 0
    result = json.loads((logged / "result.json").read_text())
    assert told[-1]["held_out"]["psnr"] == pytest.approx(result["mean"]["psnr"], abs=1e-3)
    assert told[-1]["held_out"]["ssim"] == pytest.approx(result["mean"]["ssim"], abs=1e-4)
    (name,) = read.Tags()["images"]
    images = read.Images(name)
    assert [image.step for image in images] == [8, 16, 24]
    assert (images[0].width, images[0].height) == (128, 48)  # beside its photo


def test_a_resumed_run_tells_no_step_twice(logged, plain, tmp_path):
    run = shutil.copytree(logged, tmp_path / "run")
    shutil.rmtree(sorted((run / "checkpoints").iterdir())[-1])  # back to step 20
    (run / "splats.ply").unlink()
    assert gs_reg("reconstruct", "--resume", "--out", run, "-q") == 0
    assert (run / "splats.ply").read_bytes() == (plain / "splats.ply").read_bytes()
    read = board(run)
    assert [s.step for s in read.Scalars("train/loss")] == [1, 10, 20, 24]
    assert [s.step for s in read.Scalars("held_out/psnr")] == [8, 16, 24]
    assert [event["step"] for event in events(run) if "held_out" in event] == [8, 16, 24]
    # neither flag is a setting that a resumed run must keep
    shutil.rmtree(sorted((run / "checkpoints").iterdir())[-1])
    assert gs_reg("reconstruct", "--resume", "--out", run, "--log", "none", "--eval-every", 50, "-q") == 0


@pytest.mark.parametrize(
    ("log", "every", "steps", "due"),
    [
        ("none", None, 30, []),
        ("none", 20, 30, [20, 30]),
        ("tensorboard", None, 30, list(range(3, 31, 3))),
        ("tensorboard", 25, 30, [25, 30]),
        ("tensorboard", None, 3, [1, 2, 3]),
    ],
)
def test_when_views_are_measured(log, every, steps, due):
    watching = Watching(log, every)
    assert [step for step in range(1, steps + 1) if watching.due(step, steps)] == due


def test_refusals(photos, tmp_path, capsys):
    assert gs_reg("reconstruct", photos, "--eval-every", 0, "--out", tmp_path / "run") == 2
    assert "--eval-every: expected a finite number of at least 1" in capsys.readouterr().err
    assert gs_reg("reconstruct", photos, "--log", "wandb", "--out", tmp_path / "run") == 2
    assert "--log: expected one of none, tensorboard, got wandb" in capsys.readouterr().err
