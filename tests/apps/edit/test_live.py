"""The live page of an edit."""

from gs_reg.apps import cli
from gs_reg.apps.view.live.allowance import Allowance

from ..view.looking import looked_at, weights


def test_the_result_is_the_same_to_the_bit(mug, finished, tmp_path, monkeypatch):
    monkeypatch.setattr(Allowance, "left", True)
    client = looked_at(monkeypatch)
    assert cli.main(["edit", "run", *mug.edit, "--out", str(tmp_path / "run"), "--view"]) == 0
    assert len(client.scene.pictures) == 60
    assert min(picture.std() for picture in client.scene.pictures) > 3  # they show something
    assert weights(tmp_path / "run") == weights(finished)
    assert (tmp_path / "run/edited.ply").read_bytes() == (finished / "edited.ply").read_bytes()


def test_what_fits_nothing_has_no_page(mug, tmp_path, capsys):
    words = [word for word in mug.edit if word not in ("--edit", "a green handle")]
    for command, more in (("run", ["--remove"]), ("views", [])):
        assert cli.main(["edit", command, *words, *more, "--out", str(tmp_path / "run"), "--view"]) == 2
        assert "--view: no effect" in capsys.readouterr().err
