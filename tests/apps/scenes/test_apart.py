"""A photo that shares nothing with the others is left out; the run, its evaluation and --resume know."""

import json
import shutil

import numpy as np
import pytest

from tests.apps.conftest import run_command


def turned_round(photos, root, *names):
    """The photos, with these cameras looking the other way."""
    shutil.copytree(photos, root)
    content = json.loads((root / "transforms.json").read_text())
    for frame in content["frames"]:
        if any(name in frame["file_path"] for name in names):
            frame["transform_matrix"] = (np.array(frame["transform_matrix"]) @ np.diag([-1.0, 1, -1, 1])).tolist()
    (root / "transforms.json").write_text(json.dumps(content))
    return root


@pytest.mark.parametrize("flags", [[], ["--train", "train_00", "train_01", "train_02"], ["--start", "random"]])
def test_it_is_left_out(photos, tmp_path, flags):
    root = turned_round(photos, tmp_path / "data", "train_01")
    out = tmp_path / "run"
    done = run_command("reconstruct", root, "--out", out, "--preset", "ci", "--stop-after", "train", *flags)
    assert done.returncode == 0, done.stderr
    assert "left out train_01.png: shares no visible surface with the other training photos" in done.stderr
    stored = json.loads((out / "dataset.json").read_text())
    assert stored["train"] == ["train_00.png", "train_02.png"] and stored["test"] == ["test_00.png"]
    assert stored["skipped"] == [["train_01.png", "shares no visible surface with the other training photos"]]
    if not flags:
        for words in (("reconstruct", "--resume", "--out", out), ("eval", out)):
            done = run_command(*words)
            assert done.returncode == 0, done.stderr
        assert json.loads((out / "result.json").read_text())["seen_once"].keys() == set(stored["train"])


def test_fewer_than_two_left_is_the_end(photos, tmp_path):
    root = turned_round(photos, tmp_path / "data", "train_01", "train_02")
    done = run_command(
        "reconstruct", root, "--out", tmp_path / "run", "--preset", "ci", "--train", "train_00", "train_01"
    )
    assert done.returncode == 2 and not (tmp_path / "run").exists()
    assert "0 triangulated points for train_00.png" in done.stderr.strip().splitlines()[-1]
