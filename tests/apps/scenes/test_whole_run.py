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


@pytest.mark.parametrize("steps", [1, -3])
def test_fewer_steps_than_stages(steps):
    with pytest.raises(InputError, match=rf"--steps: expected 0 .* or 2 or more, .* \(rays, free\), got {steps}"):
        with_whole_run(of("ci", steps=steps))


@pytest.mark.parametrize("preset", PRESETS)
def test_0_steps_are_no_training_in_any_preset(preset):
    config = with_whole_run(of(preset, steps=0))
    check_effect(config)
    assert total_steps(config) == 0 and with_whole_run(dataclasses.replace(config, steps=0)) == config


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


@pytest.mark.parametrize(
    ("flags", "named", "other"),
    [
        ("--train.render.backend native --backend native", "--train.render.backend", "--backend"),
        ("--backend auto --free.train.render.backend=native", "--free.train.render.backend", "--backend"),
        ("--steps 20 --free.train.steps 10", "--free.train.steps", "--steps"),
        ("--downscale 2 --long-side 64", "--long-side", "--downscale"),
        ("--test 0 --test-every 3", "--test-every", "--test"),
        ("--name x", "--name", "--out"),
    ],
)
def test_of_two_settings_of_one_thing_none_is_dropped_in_silence(flags, named, other, photos, tmp_path, capsys):
    words = ["reconstruct", str(photos), "--out", str(tmp_path / "run"), "--dry-run"]
    assert cli.main([*words, *flags.split()]) == 2
    assert capsys.readouterr().err.startswith(f"gs-reg: {named}: no effect: {other} ")


def test_a_flag_may_take_the_place_of_what_a_file_says(photos, tmp_path, capsys):
    """As in config.yaml of a run that was made with other flags; within one file it may not."""
    file = tmp_path / "c.yaml"
    file.write_text("preset: ci\nlong-side: 64\ntrain.render.backend: reference\n")
    words = ["reconstruct", str(photos), "--config", str(file), "--dry-run"]
    assert cli.main([*words, "--downscale", "2", "--backend", "native"]) == 0
    file.write_text("preset: ci\nbackend: native\ntrain.render.backend: reference\n")
    assert cli.main(words) == 2
    assert f"{file}.train.render.backend: no effect: {file}.backend sets" in capsys.readouterr().err


def test_json_of_what_is_not_measured(photos, tmp_path, capsys):
    assert cli.main(["reconstruct", str(photos), "--stop-after", "train", "--json", "--dry-run"]) == 2
    assert "--json: no effect: --stop-after train" in capsys.readouterr().err


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
