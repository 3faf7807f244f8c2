"""`gs-reg sweep`: a plan of runs is checked before the first starts, resumed, and summed up in one table."""

import json

import pytest
import yaml

from gs_reg.apps import cli
from gs_reg.apps.batch import sweep
from gs_reg.apps.batch.sweep_table import as_markdown, table_rows
from gs_reg.apps.runs.interrupts import Interrupted
from gs_reg.errors import InputError


@pytest.fixture
def plan(photos, tmp_path):
    path = tmp_path / "plan.yaml"
    scenes = {"tiny": {"data": str(photos), "stop_after": "report"}}
    variants = {"ci": {"preset": "ci"}, "flat": {"preset": "ci", "free": {"model": {"sh_degree": 0}}}}
    path.write_text(yaml.safe_dump({"scenes": scenes, "variants": variants, "seeds": [0]}))
    return path


def figures(psnr, ssim):
    return {"mean": {"psnr": psnr, "ssim": ssim, "lpips": None}, "seconds": 10.0}


def test_the_table_has_mean_and_deviation_over_seeds_and_counts_every_scene_once():
    runs = [("a", "x", figures(20, 0.5)), ("a", "x", figures(22, 0.7)), ("b", "x", figures(31, 0.9)), ("b", "y", None)]
    a, b, both = table_rows(runs)
    assert (a["psnr"], a["psnr_std"], a["seeds"]) == (21, pytest.approx(2**0.5), 2)
    assert b["psnr"] == 31 and b["psnr_std"] is None
    assert both["psnr"] == 26 and both["ssim"] == pytest.approx(0.75) and both["scene"] == "all scenes (2)"
    text = as_markdown([a, b, both])
    assert "| a | x | 2 | 21.00 ± 1.41 | 0.600 ± 0.141 | 10 ± 0 |" in text and "lpips" not in text


def test_runs_every_job_once_and_writes_the_table(plan, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["sweep", str(plan), "--out", str(out), "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert [(row["scene"], row["variant"]) for row in table["rows"]] == [("tiny", "ci"), ("tiny", "flat")]
    assert table == json.loads((out / "table.json").read_text()) and table["failed"] == []
    assert (
        yaml.safe_load((out / "tiny" / "flat" / "seed_0" / "config.yaml").read_text())["free"]["train"]["steps"] == 20
    )
    before = (out / "tiny" / "ci" / "seed_0" / "splats.ply").stat().st_mtime_ns
    assert cli.main(["sweep", str(plan), "--out", str(out)]) == 0
    assert "there already" in capsys.readouterr().err
    assert (out / "tiny" / "ci" / "seed_0" / "splats.ply").stat().st_mtime_ns == before
    plan.write_text(plan.read_text().replace("sh_degree: 0", "sh_degree: 2"))
    assert cli.main(["sweep", str(plan), "--out", str(out)]) == 2
    assert "not the settings of the plan any more" in capsys.readouterr().err


def test_a_run_that_fails_is_named_and_the_others_go_on(plan, tmp_path, capsys):
    settings = yaml.safe_load(plan.read_text())
    settings["scenes"] = {"gone": {"data": "nowhere"}, **settings["scenes"]}
    settings["variants"].pop("flat")
    plan.write_text(yaml.safe_dump(settings, sort_keys=False))
    assert cli.main(["sweep", str(plan), "--out", str(tmp_path / "out")]) == 1
    table = json.loads((tmp_path / "out" / "table.json").read_text())
    assert [row["scene"] for row in table["rows"]] == ["tiny"] and table["failed"] == [
        str(tmp_path / "out" / "gone" / "ci" / "seed_0")
    ]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"scenes": {"a": {}}}, "scenes.a: expected `data`"),
        ({"variants": {"a/b": {}}}, "'a/b' cannot name a folder"),
        ({"variants": [1]}, "variants: expected a map"),
        ({"scenes": {"jobs": {"data": "x"}}}, "'jobs' cannot name a folder"),
        ({"seeds": "3"}, "seeds: expected a list"),
        ({"sede": [1]}, "unknown key 'sede'"),
        ({"variants": {"x": {"preset": "bets"}}}, "preset: expected one of"),
        ({"variants": {"x": {"preset": {}}}}, "tiny x x.preset: expected one of"),
        ({"variants": {"x": {"preset": ["ci"]}}}, "tiny x x.preset: expected one of"),
        ({"variants": {"x": {"preset": float("nan")}}}, "tiny x x.preset: expected one of"),
        ({"variants": {"x": {"preset": "ci", "free.train.render.far": 0.001}}}, "tiny x x.free.*far: expected more"),
        ({"variants": {"x": {"train": {"step": 3}}}}, "did you mean 'steps'"),
    ],
)
def test_a_wrong_plan_is_refused_before_anything_starts(plan, change, complaint):
    plan.write_text(yaml.safe_dump(yaml.safe_load(plan.read_text()) | change))
    with pytest.raises(InputError, match=f"^{plan}: .*{complaint}"):
        sweep.read_plan(plan)


def test_dry_run_lists_the_runs(plan, tmp_path, capsys):
    assert cli.main(["sweep", str(plan), "--out", str(tmp_path / "out"), "--dry-run", "--only", "flat"]) == 0
    listed = capsys.readouterr().err
    assert "flat/seed_0" in listed and "ci/seed_0" not in listed and not (tmp_path / "out").exists()
    assert cli.main(["sweep", str(plan), "--only", "none"]) == 2


@pytest.mark.parametrize(
    ("only", "runs"),
    [("a", ["a/x", "a/y"]), ("x", ["a/x", "b/x"]), ("b x", ["b/x"]), ("a b y", ["a/y", "b/y"])],
)
def test_scenes_and_variants_by_name(plan, capsys, only, runs):
    data = yaml.safe_load(plan.read_text())["scenes"]["tiny"]
    named = {"scenes": {"a": data, "b": data}, "variants": {"x": {"preset": "ci"}, "y": {"preset": "ci"}}, "seeds": [0]}
    plan.write_text(yaml.safe_dump(named))
    assert cli.main(["sweep", str(plan), "--dry-run", "--only", *only.split()]) == 0
    assert [line.removeprefix("runs/sweep/") for line in capsys.readouterr().err.split()] == [
        f"{r}/seed_0" for r in runs
    ]
    assert cli.main(["sweep", str(plan), "--dry-run", "--only", "a", "z"]) == 2
    assert "--only z: no scene or variant of" in capsys.readouterr().err


def test_settings_under_the_names_of_their_flags(plan):
    settings = yaml.safe_load(plan.read_text())
    settings["scenes"]["tiny"] |= {"views": 2, "read": {"downscale": 2}}
    flags = {"preset": "paper-short", "views": 3, "steps": 100, "coherent.on": True, "train.render.backend": "native"}
    flags |= {"coherent.no-align": True, "train": {"multisample": 2}, "test-every": 0}
    settings["variants"] = {"x": flags, "y": {"preset": "ci", "train": ["train_00.png", "train_01.png"]}}
    plan.write_text(yaml.safe_dump(settings))
    x, y = sweep.read_plan(plan)
    assert x.settings["read"] == {"downscale": 2, "views": 3, "test_every": 0} and x.settings["steps"] == 100
    assert x.settings["coherent"] == {"on": True, "align": False}
    assert x.settings["train"] == {"render": {"backend": "native"}, "multisample": 2}
    assert y.settings["read"]["train"] == ["train_00.png", "train_01.png"] and "train" not in y.settings


@pytest.mark.parametrize(
    ("variant", "complaint"),
    [
        ({"steps": 5, "free.train.steps": 3, "free": {"train": {"steps": 4}}}, "free.train.steps: given twice"),
        ({"coherent.onn": True}, "did you mean 'on'"),
        ({"train.render.backend": "native"}, "--train.render.backend: no effect"),
        ({"preset": "ci", "steps": 1}, "--steps: expected 0 .* or 2 or more"),
    ],
)
def test_wrong_settings_under_flag_names(plan, variant, complaint):
    settings = yaml.safe_load(plan.read_text()) | {"variants": {"x": variant}}
    plan.write_text(yaml.safe_dump(settings))
    with pytest.raises(InputError, match=complaint):
        sweep.read_plan(plan)


def test_a_signal_to_the_sweep_alone_says_how_to_go_on(plan, tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise Interrupted(15)

    monkeypatch.setattr(sweep, "run_engine", interrupted)
    assert cli.main(["sweep", str(plan), "--out", str(tmp_path / "s")]) == 143
    assert capsys.readouterr().err.splitlines()[-1] == (
        "gs-reg: interrupted; continue with the same command; finished runs are kept"
    )
