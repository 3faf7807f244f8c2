"""Pictures of a scene's views are drawn once for all edits that share its parts."""

import pytest

from gs_reg.apps import cli
from gs_reg.apps.edit import renders, scene
from gs_reg.apps.edit.renders import RENDERS


@pytest.fixture(scope="module")
def parts(mug, tmp_path_factory):
    out = tmp_path_factory.mktemp("parts") / "parts"
    assert cli.main(["edit", "parts", *mug.words, "--keep-renders", "--out", str(out)]) == 0
    return out


def refuse(*_):
    raise AssertionError("drawn again")


def test_an_edit_takes_them_and_makes_the_same_bytes(mug, parts, finished, tmp_path, monkeypatch):
    monkeypatch.setattr(scene, "draw_views", refuse)
    out = tmp_path / "run"
    assert cli.main(["edit", "run", *mug.edit, "--labels", str(parts), "--out", str(out)]) == 0
    assert (out / "edited.ply").read_bytes() == (finished / "edited.ply").read_bytes()
    assert not (out / RENDERS).exists()


def test_those_of_other_views_or_splats_are_not_taken(mug, parts, capsys, monkeypatch):
    monkeypatch.setattr(scene, "draw_views", refuse)
    words = ["edit", "parts", *mug.words, "--labels", str(parts), "--dry-run"]
    assert cli.main(words) == 0
    for change in (["--size", "48"], ["--background", "black"], ["--up", "z"]):
        capsys.readouterr()
        assert cli.main([*words, *change]) == 1 and "drawn again" in capsys.readouterr().err


def test_broken_ones_are_named_and_large_ones_not_kept(mug, parts, tmp_path, capsys, monkeypatch):
    whole = (parts / RENDERS).read_bytes()
    (parts / RENDERS).write_bytes(whole[: len(whole) // 2])
    assert cli.main(["edit", "parts", *mug.words, "--labels", str(parts), "--dry-run"]) == 2
    assert str(parts / RENDERS) in capsys.readouterr().err
    (parts / RENDERS).write_bytes(whole)
    monkeypatch.setattr(renders, "MOST_BYTES", 1000)
    assert cli.main(["edit", "parts", *mug.words, "--keep-renders", "--out", str(tmp_path / "run")]) == 0
    assert not (tmp_path / "run" / RENDERS).exists() and "each edit draws them itself" in capsys.readouterr().err
