"""An edit that is interrupted goes on to the same bits; labels of another run are taken; views are exported."""

import json
import signal
import subprocess
import time

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gs_reg.apps import cli

from ..conftest import command
from .conftest import Mug


def steps_done(run) -> int:
    """Of the run so far; 0 before training."""
    try:
        return int(json.loads((run / "status.json").read_text()).get("step") or 0)
    except (OSError, ValueError):
        return 0


def test_an_interrupted_edit_goes_on_to_the_same_bytes(mug: Mug, finished, tmp_path):
    out = tmp_path / "run"
    words = command("edit", "run", *mug.edit, "--out", out)
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    for _ in range(6000):
        if steps_done(out) > 0 or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert "gs-reg edit run --resume" in errors and not (out / "edited.ply").exists()
    assert json.loads((out / "status.json").read_text())["state"] == "interrupted"
    assert cli.main(["edit", "run", "--resume", "--out", str(out)]) == 0
    assert (out / "edited.ply").read_bytes() == (finished / "edited.ply").read_bytes()
    assert json.loads((out / "result.json").read_text())["stages"].keys() >= {"maps", "labels", "anchors", "training"}


def test_the_log_has_scalars_and_pictures_of_anchors(finished):
    read = EventAccumulator(str(finished / "tb")).Reload()
    tags = read.Tags()
    assert len(read.Scalars("train/loss")) == 7 and "train/gaussians" in tags["scalars"]
    assert 1 <= len(tags["images"]) <= 4 and all(name.startswith("views/anchor_") for name in tags["images"])
    assert [image.step for image in read.Images(tags["images"][0])][-1] == 60


def test_resume_keeps_the_settings(mug: Mug, finished, capsys):
    assert cli.main(["edit", "run", "--resume", "--out", str(finished), "--edit", "a pink handle"]) == 2
    assert "edit (was a green handle" in capsys.readouterr().err


def test_labels_of_another_run_are_taken_and_views_are_exported(mug: Mug, finished, tmp_path, capsys):
    words = [*mug.words, "--part", "handle", "--labels", str(finished), "--out", str(tmp_path / "views")]
    assert cli.main(["edit", "views", *words]) == 0
    pictures = sorted(path.stem for path in (tmp_path / "views" / "pictures").glob("*.png"))
    masks = sorted(path.stem for path in (tmp_path / "views" / "pictures_masks").glob("*.png"))
    assert pictures == masks and 2 <= len(pictures) <= 6
    assert (tmp_path / "views" / "maps.npz").read_bytes() == (finished / "maps.npz").read_bytes()
    listed = json.loads((tmp_path / "views" / "pictures_cameras.json").read_text())
    assert sorted(listed["views"]) == pictures
    words = [*mug.words, "--parts", "rim,body", "--labels", str(finished), "--out", str(tmp_path / "others")]
    assert cli.main(["edit", "parts", *words]) == 2
    assert "its parts are rim,handle,body" in capsys.readouterr().err


def test_a_plan_writes_nothing(mug: Mug, tmp_path, capsys):
    assert cli.main(["edit", "run", *mug.edit, "--dry-run", "--out", str(tmp_path / "run")]) == 0
    assert "plan: preset fast" in capsys.readouterr().err and not (tmp_path / "run").exists()


@pytest.mark.parametrize("painted", [False, True])
def test_a_part_is_removed_and_comes_back(mug: Mug, finished, tmp_path, painted):
    """A handle has the air behind it, except where it touches the body: little or nothing is put there."""
    flags = ["--part", "handle", "--remove", "--labels", str(finished), "--out", str(tmp_path / "run")]
    flags += ["--editor", f"folder:{mug.folder / 'oracle'}"] if painted else []
    assert cli.main(["edit", "run", *mug.words, *flags]) == 0
    locality = json.loads((tmp_path / "run" / "locality.json").read_text())
    assert locality["removed"] > 50 and locality["intact"] and locality["added"] < 0.2 * locality["removed"]
    assert cli.main(["edit", "undo", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "original.ply").read_bytes() == mug.scene.read_bytes()


def test_views_without_parts_are_pictures_to_click_on(mug: Mug, tmp_path, capsys):
    words = ["views", str(mug.scene), "--up", "y", "--size", "64", "--views", "4", "--device", "cpu"]
    assert cli.main(["edit", *words, "--teacher", "clicks", "--out", str(tmp_path / "run")]) == 0
    pictures = sorted((tmp_path / "run" / "pictures").iterdir())
    assert [path.stem for path in pictures] == [f"orbit_{i:03d}" for i in range(4)]
    assert not (tmp_path / "run" / "pictures_masks").exists() and "--clicks" in capsys.readouterr().err
    assert cli.main(["edit", *words, "--part", "handle", "--out", str(tmp_path / "other")]) == 2
    assert cli.main(["edit", *words, "--out", str(tmp_path / "small"), "--size", "2"]) == 2
