"""`gs-reg edit run` from end to end with true masks and oracle pictures; undo."""

import json

import numpy as np
import torch

from gs_reg.apps import cli
from gs_reg.io.rows import read_rows
from gs_reg.sh import sh_to_rgb


def test_the_part_takes_the_colour_and_no_other_row_changes(mug, finished):
    before, after = (read_rows(path, path) for path in (mug.scene, finished / "edited.ply"))
    labels = np.load(finished / "labels.npz")
    handle = torch.from_numpy(labels["ids"] == list(labels["names"]).index("handle"))
    assert 50 < int(handle.sum()) < len(handle) / 2
    color = sh_to_rgb(after.splats.sh[handle, 0]).median(0).values
    assert color[1] > color[0] + 0.15 and color[1] > color[2] + 0.15, color
    assert (before.table[~handle.numpy()] == after.table[~handle.numpy()]).all()
    result = json.loads((finished / "result.json").read_text())
    assert result["locality"]["intact"] and result["locality"]["changed"] == int(handle.sum())
    assert result["metrics"]["outside_the_mask"]["share"] < 0.02
    assert result["metrics"]["clip"]["value"] is None and "weights" in result["metrics"]["clip"]["reason"]
    for name in ("report.html", "turntable.mp4", "before_after.png", "preview.png", "parts/handle.ply"):
        assert (finished / name).stat().st_size > 0, name


def test_undo_gives_the_file_back_byte_for_byte(mug, finished, tmp_path):
    assert cli.main(["edit", "undo", str(finished), "--to", str(tmp_path / "back.ply")]) == 0
    assert (tmp_path / "back.ply").read_bytes() == mug.scene.read_bytes()


def test_a_model_is_teacher_editor_and_guide(mug, tiny_sd3, tmp_path):
    """A random SD3 knows nothing: the whole path runs, and what it may not touch stays."""
    words = [*mug.words, "--part", "handle", "--edit", "a green handle", "--model", str(tiny_sd3)]
    words[words.index("--preset") + 1] = "best"
    words += ["--size", "32", "--steps", "3", "--slamp.steps", "2", "--anchors.count", "2", "--retries", "0"]
    out = tmp_path / "run"
    assert cli.main(["edit", "run", *words, "--out", str(out)]) == 0
    result = json.loads((out / "result.json").read_text())
    assert result["model_calls"]["sds"] == 9 and result["model_calls"]["slamp"] > 0
    assert result["locality"]["intact"] and len(result["model"]["sha256"]) > 5
