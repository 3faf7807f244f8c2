"""The live page of an edit."""

import torch

from gs_reg.apps import cli
from gs_reg.apps.view.edit.source import open_edit
from gs_reg.apps.view.kinds import is_edit
from gs_reg.apps.view.live.allowance import Allowance
from gs_reg.io import load_splats

from ..view.looking import looked_at, weights


def test_the_result_is_the_same_to_the_bit(mug, finished, tmp_path, monkeypatch):
    monkeypatch.setattr(Allowance, "left", True)
    client = looked_at(monkeypatch)
    assert cli.main(["edit", "run", *mug.edit, "--out", str(tmp_path / "run"), "--view"]) == 0
    assert len(client.scene.pictures) == 60
    assert min(picture.std() for picture in client.scene.pictures) > 3  # they show something
    assert weights(tmp_path / "run") == weights(finished)
    assert (tmp_path / "run/edited.ply").read_bytes() == (finished / "edited.ply").read_bytes()


def test_the_page_of_the_edit_has_it_before_and_after(mug, finished):
    assert is_edit(finished)
    edit, before = open_edit(finished, None), load_splats(mug.scene)
    assert edit.part == "handle" and edit.after is not None and "a green handle" in edit.words
    assert torch.equal(edit.before.sh, before.sh)
    changed = (edit.after.sh != edit.before.sh).flatten(1).any(1)
    assert changed.any() and bool(edit.decision.part("handle")[changed].all())


def test_what_fits_nothing_has_no_page(mug, tmp_path, capsys):
    words = [word for word in mug.edit if word not in ("--edit", "a green handle")]
    for command, more in (("run", ["--remove"]), ("views", [])):
        assert cli.main(["edit", command, *words, *more, "--out", str(tmp_path / "run"), "--view"]) == 2
        assert "--view: no effect" in capsys.readouterr().err
