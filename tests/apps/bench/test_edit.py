"""`gs-reg bench edit` at small sizes."""

import json

import pytest
import torch

pytest.importorskip("diffusers", reason="the extra edit is not installed")

from gs_reg.apps import cli
from gs_reg.apps.bench.edit_scene import label_scene


def test_times_each_solver_and_the_steps_of_an_edit(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    file = tmp_path / "edit.json"
    sizes = {"gaussians": 600, "views": 6, "size": 48, "labels": 8, "edit-gaussians": 300, "edit-size": 32}
    counts = {"adam-steps": 3, "edit-steps": 2, "repeats": 2, "threads": 1}
    words = [word for name, value in (sizes | counts).items() for word in (f"--{name}", str(value))]
    before = torch.get_num_threads()
    assert cli.main(["bench", "edit", *words, "--json", str(file)]) == 0
    assert torch.get_num_threads() == before
    found = json.loads(file.read_text())
    rows = {row["job"]: row for row in found["rows"]}
    assert list(rows) == ["linear", "joint", "adam", "step", "step with guidance"]
    assert all(0 < row["wall_seconds"] < 100 and row["processor_seconds"] > 0 for row in rows.values())
    assert rows["joint"]["processor_seconds"] > rows["linear"]["processor_seconds"]
    assert rows["step with guidance"]["processor_seconds"] > rows["step"]["processor_seconds"]
    assert min(rows[solver]["miou"] for solver in ("linear", "joint")) > 0.6
    assert found["linear_share"] == rows["linear"]["processor_seconds"] / rows["adam"]["processor_seconds"]
    assert found["gaussians"] == 600 and rows["linear"]["most_seconds"] == 6
    out = capsys.readouterr().out
    assert "times 600" in out and "linear / adam" in out


def test_the_scene_has_as_many_labels_and_gaussians_as_asked_for():
    for labels in (3, 8):
        scene = label_scene(500, 3, 32, labels)
        assert len(scene.splats) == 500 and scene.maps.maps.shape == (3, labels - 1, 32, 32)
        assert torch.bincount(scene.parts)[1:].min() > 0 and scene.parts.max() == labels - 1
        assert scene.maps.maps.sum(1).amax() == 1
