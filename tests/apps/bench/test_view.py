"""`gs-reg bench view` on a small scene: the three figures, and commands that fail."""

import json

import pytest

from gs_reg.apps import cli
from gs_reg.apps.bench import view
from gs_reg.apps.bench.looked_at import LookedAt, look_at_a_fit
from gs_reg.errors import InputError


def test_three_figures(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(view, "look_at_a_fit", lambda *_: LookedAt(20.0, 21.0, 40.0))
    words = ["bench", "view", "--gaussians", "500", "--width", "64", "--height", "48", "--seconds", "1"]
    assert cli.main([*words, "--device", "cpu", "--json", str(tmp_path / "a.json")]) == 0
    said = capsys.readouterr().err
    assert "wanted: 10 s for a million" in said and "pictures/s of 64x48 (wanted: 5)" in said
    assert "20.0 s alone, in 21.0 s with a camera that always moves: 5.0 % slower (wanted: at most 10 %)" in said
    figures = json.loads((tmp_path / "a.json").read_text())
    assert 0 < figures["opening"]["listening"] < figures["opening"]["sent"]
    assert figures["moving"]["rate"] > 0 and figures["fit"]["slower"] == pytest.approx(0.05)


def test_a_fit_alone_and_looked_at(photos):
    found = look_at_a_fit(str(photos), 10, 64, 48, "cpu", preset="ci")
    assert found.alone > 0 and found.seen > 0 and found.pictures >= 1


def test_a_fit_that_fails_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"gs-reg reconstruct ended: gs-reg: .*nowhere"):
        look_at_a_fit(str(tmp_path / "nowhere"), 10, 64, 48, "cpu")
