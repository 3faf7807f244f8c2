"""`gs-reg edit run` from end to end with true masks and oracle pictures; undo."""

import json

import numpy as np
import pytest
import torch

from gs_reg.apps import cli
from gs_reg.io.rows import read_rows
from gs_reg.sh import sh_to_rgb

from .conftest import Mug


@pytest.fixture(scope="module")
def finished(mug: Mug, tmp_path_factory):
    out = tmp_path_factory.mktemp("edit") / "run"
    assert cli.main(["edit", "run", *mug.edit, "--out", str(out)]) == 0
    return out


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
