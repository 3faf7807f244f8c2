"""Three stages; Gaussians, frames and a network in one optimiser; density control. Resume gives the same bits."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from gs_reg.errors import InputError
from gs_reg.io import checkpoint
from gs_reg.stages import Training
from tests.training.app import stages

STEPS = 24


def start(folder):
    folder.mkdir(exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    words = [sys.executable, "-m", "tests.training.app", str(folder)]
    return subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)


def finish(folder):
    process = start(folder)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    return checkpoint.latest(folder / "checkpoints")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, finish(folder)


def test_it_learns_through_all_stages(unbroken):
    folder, last = unbroken
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [event["stage"] for event in events] == [
        "first",
        "grow",
        "last",
        "last",
    ] and last.name == f"step_{STEPS:09d}"
    assert all(event["terms"].keys() == {"l1", "ssim"} for event in events)
    assert events[-1]["loss"] < events[0]["loss"]
    saved = checkpoint.load(last)
    assert len(saved.model["free.start"]) == 302 and saved.model["codes"].shape == (3, 2)
    groups = saved.optim["groups"]
    assert len(groups["network"]) == 2 and groups["codes"][0]["row_steps"].sum() == 8
    assert groups["offset"][0]["row_steps"].shape == (302,)


@pytest.mark.parametrize("step", [3, 12, 20])
def test_killed_and_resumed_it_gives_the_same_bits(unbroken, tmp_path, step):
    """Killed after a step of each stage, and once more goes on from the very checkpoint of that step."""
    run = tmp_path / "run"
    process, began = start(run), time.monotonic()
    while not (run / "checkpoints" / f"step_{step:09d}" / "state.json").exists() and process.poll() is None:
        assert time.monotonic() - began < 200
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    last = finish(run)
    for name in ("model.safetensors", "optim.safetensors"):
        assert (last / name).read_bytes() == (unbroken[1] / name).read_bytes()


def test_a_checkpoint_of_a_stage_that_is_none_is_refused(unbroken, tmp_path):
    saved = checkpoint.load(shutil.copytree(unbroken[1], tmp_path / unbroken[1].name))
    with pytest.raises(InputError, match="of stage 'last', which is none of those asked for: first, grow"):
        Training.resume(stages([])[:2], saved)
