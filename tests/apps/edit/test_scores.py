"""Published scores of an edit: only with weights, named and hashed; else null with the reason. Tables are not mixed."""

import csv
import json
import shutil
from dataclasses import replace

import pytest
import torch

from gs_reg.apps import cli
from gs_reg.apps.edit.config import Config
from gs_reg.apps.edit.scores import NAMES, NEEDS, Pair, check_scores, score
from gs_reg.apps.edit.tables import check_not_mixed, row_source, write_table
from gs_reg.errors import InputError
from gs_reg.lpips import Lpips

from ...test_metrics import random_weights
from ...text_scores import tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return tiny.clip(tmp_path_factory.mktemp("scores") / "tiny-clip")


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    return tiny.blip(tmp_path_factory.mktemp("scores") / "tiny-blip")


@pytest.fixture
def pair():
    before, after = torch.rand(2, 3, 40, 40, 3, generator=torch.Generator().manual_seed(0))
    outside = torch.ones(3, 40, 40, dtype=torch.bool)
    outside[:, :, :20] = False
    after = torch.where(outside[..., None], before, after)
    return Pair(("a", "b", "c"), before, after, outside, "a mug with handle", "a mug with a green handle")


@pytest.fixture
def config(monkeypatch):
    """Without whatever weights of LPIPS this machine has."""
    monkeypatch.setattr("gs_reg.apps.edit.scores.find_lpips", lambda paths: (None, "lpips_vgg: none found"))
    return Config(object="a mug", parts="rim,handle", part="handle", edit="a green handle")


def test_without_weights_all_scores_are_null_with_the_reason(config, pair):
    entries = score(config, pair, CPU)
    assert tuple(entries) == NAMES
    for name, entry in entries.items():
        assert set(entry) == {"value", "reason"} and entry["value"] is None, name
        assert entry["reason"].startswith("not run: ") and "weights" in entry["reason"]
    assert entries["clip"]["reason"] == "not run: no CLIP weights given (--scores-model)"


def test_weights_of_one_kind_give_no_score_of_the_other(config, pair, clip, blip):
    seen = score(replace(config, scores_model=(clip,)), pair, CPU)
    assert [name for name in NAMES if seen[name]["value"] is not None] == ["clip", "clip_direction"]
    asked = score(replace(config, scores_model=(blip,)), pair, CPU)
    assert [name for name in NAMES if asked[name]["value"] is not None] == ["blip_vqa", "tifa_templates"]
    assert "no questions given" in asked["tifa"]["reason"]
    assert list(asked["blip_vqa"]["phrases"]) == ["a mug", "a green handle"]
    for entry in (seen["clip"], asked["blip_vqa"]):
        assert len(entry["by_view"]) == 3 and entry["value"] == pytest.approx(sum(entry["by_view"]) / 3)
        assert entry["model"]["folder"].startswith("tiny-") and len(entry["model"]["sha256"]["model.safetensors"]) == 64


def test_an_edit_that_changed_nothing_has_direction_0(config, pair, clip):
    config = replace(config, scores_model=(clip,))
    assert score(config, replace(pair, after=pair.before), CPU)["clip_direction"]["value"] == 0
    assert score(config, pair, CPU)["clip_direction"]["value"] != 0
    same = score(config, replace(pair, target=pair.source), CPU)["clip_direction"]
    assert same["value"] is None and "words" in same["reason"]


def test_a_removal_and_views_that_are_all_anchors_have_no_score_of_words(config, pair, clip):
    config = replace(config, scores_model=(clip,))
    gone = score(replace(config, remove=True, edit=""), pair, CPU)
    assert all(gone[name]["value"] is None for name in NEEDS) and "taken away" in gone["clip"]["reason"]
    assert "weights" in gone["tifa"]["reason"]
    none = replace(pair, names=(), before=pair.before[:0], after=pair.after[:0], outside=pair.outside[:0])
    assert "picture was edited" in score(config, none, CPU)["clip"]["reason"]


def test_lpips_looks_outside_the_part(config, pair, monkeypatch):
    net = Lpips("alex", *random_weights("alex"))
    monkeypatch.setattr("gs_reg.apps.edit.scores.find_lpips", lambda paths: (net, "random"))
    entry = score(config, pair, CPU)["lpips"]
    assert entry["value"] == 0 and entry["model"] == {"net": "lpips_alex", "files": "random"}
    leaking = replace(pair, after=pair.after.flip(2))
    assert score(config, leaking, CPU)["lpips"]["value"] > 0
    small = replace(pair, before=pair.before[:, :20], after=pair.after[:, :20], outside=pair.outside[:, :20])
    assert score(config, small, CPU)["lpips"]["value"] is None


def test_folders_are_looked_at_before_the_start(config, clip, tmp_path):
    assert set(check_scores(replace(config, scores_model=(clip,)))) == {"clip"}
    shutil.copytree(clip, tmp_path / "copy")
    with pytest.raises(InputError, match="is clip too: give one of a kind"):
        check_scores(replace(config, scores_model=(clip, tmp_path / "copy")))
    (tmp_path / "copy/model.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match="copy: "):
        check_scores(replace(config, scores_model=(tmp_path / "copy",)))
    (tmp_path / "q.json").write_text("[]")
    with pytest.raises(InputError, match=r"q\.json"):
        check_scores(replace(config, scores_questions=tmp_path / "q.json"))


def test_a_run_scores_views_that_are_no_anchors(mug, clip, blip, tmp_path):
    pictures = sorted((mug.folder / "oracle").glob("*.png"))[:3]
    for picture in pictures:
        (tmp_path / "some").mkdir(exist_ok=True)
        shutil.copy(picture, tmp_path / "some")
    question = {"question": "is there a mug?", "choices": ["yes", "no"], "answer": "yes"}
    (tmp_path / "q.json").write_text(json.dumps([question]))
    words = [*mug.edit, "--steps", "2", "--scores-model", str(clip), "--scores-model", str(blip)]
    words[words.index("--editor") + 1] = f"folder:{tmp_path / 'some'}"
    words += ["--scores-questions", str(tmp_path / "q.json")]
    run = tmp_path / "run"
    assert cli.main(["edit", "run", *words, "--out", str(run)]) == 0
    result = json.loads((run / "result.json").read_text())
    metrics, anchors = result["metrics"], result["anchors"]["views"]
    assert metrics["scored_views"] and anchors and not set(metrics["scored_views"]) & set(anchors)
    assert metrics["words"] == {"before": "a mug with handle", "after": "a mug with a green handle"}
    for name in NEEDS:
        assert isinstance(metrics[name]["value"], float) and "by_view" not in metrics[name], name
    assert metrics["tifa"]["model"]["questions"] == "q.json" and result["source"] == "measured"
    rows = list(csv.DictReader((run / "scores.csv").open()))
    assert [row["view"] for row in rows] == metrics["scored_views"]
    mean = sum(float(row["clip"]) for row in rows) / len(rows)
    assert mean == pytest.approx(metrics["clip"]["value"], abs=1e-5)
    assert "clip direction" in (run / "report.html").read_text()


def test_stand_in_and_published_rows_share_no_table(tmp_path):
    rows = [{"source": source, "clip": 0.2} for source in ("published", "measured", "stand-in")]
    for ok in (rows[:2], rows[1:], []):
        check_not_mixed(ok)
    with pytest.raises(InputError, match="row 1 is published and row 3 is stand-in"):
        check_not_mixed(rows)
    with pytest.raises(InputError, match="two tables"):
        write_table(tmp_path / "table.csv", rows)
    assert not list(tmp_path.iterdir())
    for row in ({"clip": 0.2}, {"source": "mine"}):
        with pytest.raises(InputError, match="row 2: source is"):
            check_not_mixed([rows[0], row])


def test_a_table_is_written_with_all_columns(tmp_path):
    rows = [{"source": "measured", "a": 1}, {"source": "stand-in", "b": 2}]
    write_table(tmp_path / "table.csv", rows)
    lines = (tmp_path / "table.csv").read_text().split()
    assert lines == ["source,a,b", "measured,1,", "stand-in,,2"]


def test_a_teacher_that_was_trained_here_is_a_stand_in(tmp_path):
    assert row_source(None) == "measured" == row_source(str(tmp_path))
    (tmp_path / "teacher.json").write_text(json.dumps({"tau": 0.2}))
    assert row_source(str(tmp_path)) == "measured"
    from gs_reg.apps.teacher.export import write_settings

    write_settings(tmp_path, {"resolution": 64})
    assert row_source(str(tmp_path)) == "stand-in"
