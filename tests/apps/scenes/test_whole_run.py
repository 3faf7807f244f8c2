"""--steps and --backend hold for every stage; a flag that would change nothing is refused."""

import dataclasses
import json

import pytest

from gs_reg.apps import cli
from gs_reg.apps.scenes.config import Config
from gs_reg.apps.scenes.no_effect import check_effect
from gs_reg.apps.scenes.presets import PRESETS
from gs_reg.apps.scenes.stages import plan_stages
from gs_reg.apps.scenes.whole_run import shares, total_steps, with_whole_run
from gs_reg.errors import InputError
from gs_reg.render import RenderConfig


def of(preset, **values):
    return dataclasses.replace(Config.of_preset(preset), **values)


@pytest.mark.parametrize(
    ("total", "parts", "right"),
    [
        (30, {"a": 10, "b": 20}, {"a": 10, "b": 20}),
        (15, {"a": 10, "b": 20}, {"a": 5, "b": 10}),
        (2, {"a": 1, "b": 999}, {"a": 1, "b": 1}),
        (7, {"a": 1, "b": 1, "c": 1}, {"a": 3, "b": 2, "c": 2}),
        (1000, {"a": 1, "b": 999}, {"a": 1, "b": 999}),
    ],
)
def test_steps_are_shared_out_in_proportion(total, parts, right):
    assert shares(total, parts) == right


@pytest.mark.parametrize("preset", PRESETS)
def test_steps_are_the_total_of_every_preset_and_add_no_stage(preset):
    before = [plan.name for plan in plan_stages(of(preset))]
    config = with_whole_run(of(preset, steps=60))
    assert total_steps(config) == 60 and [plan.name for plan in plan_stages(config)] == before
    assert config.steps is None
    usual = total_steps(of(preset))
    assert with_whole_run(of(preset, steps=usual)) == of(preset)  # the preset's own total changes nothing


def test_stages_of_ci():
    assert [plan.train.steps for plan in plan_stages(with_whole_run(of("ci", steps=60)))] == [20, 40]


@pytest.mark.parametrize("preset", PRESETS)
def test_backend_is_that_of_every_stage_and_changes_nothing_else(preset):
    config = with_whole_run(of(preset, backend="reference"))
    assert {p.train.render.backend for p in plan_stages(config) if p.train.steps > 0} == {"reference"}

    def without(config):
        trains = [dataclasses.replace(t, render=RenderConfig()) for t in (config.train, config.free.train)]
        return dataclasses.replace(config, train=trains[0], free=dataclasses.replace(config.free, train=trains[1]))

    assert without(config) == without(of(preset))


@pytest.mark.parametrize(("preset", "steps"), [("ci", 1), ("best", 0), ("best", -3)])
def test_too_few_steps(preset, steps):
    with pytest.raises(InputError, match=f"--steps {steps}: expected"):
        with_whole_run(of(preset, steps=steps))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_as_it_is_passes(preset):
    check_effect(with_whole_run(of(preset, steps=50, backend="native")))


@pytest.mark.parametrize(
    ("flags", "named", "instead"),
    [
        ("--train.render.backend reference", "--train.render.backend", "--backend sets"),
        ("--terms.l1.weight 0.1", "--terms.l1.weight", ""),
        ("--model.lr-color 1", "--model.lr-color", ""),
        ("--preset rays --free.model.sh-degree 2", "--free.model.sh-degree", ""),
        ("--preset plain --train.steps 9", "--train.steps", "--steps is the total"),
        ("--preset plain --model.stride 3", "--model.stride", ""),
        ("--preset plain --depth.smoothness 1", "--depth.smoothness", ""),
        ("--coherent.bend 1", "--coherent.bend", "--coherent.on"),
        ("--free.densify.every 9", "--free.densify.every", "--free.densify.method none"),
        ("--free.terms.layered.start 0.3", "--free.terms.layered.start", "--free.terms.layered.weight is 0"),
        ("--free.train.multisample-from 0.3", "--free.train.multisample-from", "--free.train.multisample 1"),
        ("--depth.sd 0.1", "--depth.sd", ""),
        ("--fill.border 0 --fill.stride 2", "--fill.stride", ""),
    ],
)
def test_a_flag_without_effect_is_refused_by_name(flags, named, instead, photos, tmp_path, capsys):
    words = ["reconstruct", str(photos), "--out", str(tmp_path / "run"), *flags.split()]
    assert cli.main(words) == 2
    text = capsys.readouterr().err
    assert f"{named}: no effect" in text and instead in text and text.count("\n") == 1


def test_a_backend_that_is_not_there_is_said_before_anything_long(photos, tmp_path, capsys):
    words = ["reconstruct", str(photos), "--out", str(tmp_path / "run"), "--backend", "gsplat", "--device", "cpu"]
    assert cli.main(words) == 3
    assert "backend gsplat" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_a_run_in_so_many_steps(photos, tmp_path):
    out = tmp_path / "run"
    words = ["reconstruct", str(photos), "--preset", "ci", "--steps", "4", "--stop-after", "train", "--out", str(out)]
    assert cli.main(words) == 0
    assert json.loads((out / "timing.json").read_text())["steps"] == 4
    assert cli.main(["reconstruct", "--resume", "--out", str(out), "--steps", "9"]) == 2
    assert cli.main(["reconstruct", "--resume", "--out", str(out), "--steps", "4"]) == 0
