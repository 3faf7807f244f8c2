"""Every number that a command takes has bounds, and what is out of them is refused by its name."""

import dataclasses
import importlib
import typing

import pytest

from gs_reg.apps import cli
from gs_reg.apps.runs.bounds import check_numbers
from gs_reg.apps.runs.config_file import from_plain
from gs_reg.apps.runs.training import SaveTimes
from gs_reg.apps.scenes.config import Config
from gs_reg.apps.scenes.presets import PRESETS
from gs_reg.errors import InputError


def numbers(kind, way=()):
    """Dotted names of the fields that may be numbers."""
    for name, hint in typing.get_type_hints(kind).items():
        if name not in {field.name for field in dataclasses.fields(kind)}:
            continue
        if dataclasses.is_dataclass(hint):
            yield from numbers(hint, (*way, name))
        elif {int, float} & {hint, *typing.get_args(hint)}:
            yield (*way, name)


def with_value(config, way, value):
    """The config with another value, past the checks that its own class makes."""
    changed = dataclasses.replace(config)
    if len(way) > 1:
        value = with_value(getattr(config, way[0]), way[1:], value)
    object.__setattr__(changed, way[0], value)
    return changed


@pytest.mark.parametrize("way", numbers(Config), ids=".".join)
def test_every_number_of_reconstruct(way):
    infinite = way[-1] in ("far", "checkpoint_minutes", "max_aspect")
    for bad in (-1, -0.25, float("nan"), float("-inf"), *([] if infinite else [float("inf")])):
        with pytest.raises(InputError) as caught:
            check_numbers(with_value(Config(data="x"), way, bad))
        flag = ".".join(way).removeprefix("read.").removeprefix("live.").replace("_", "-")  # as typed
        assert str(caught.value).startswith(f"--{flag}: expected a ")


def test_the_other_commands_have_no_number_without_bounds():
    for command in cli.COMMANDS.values():
        kind = importlib.import_module(f"gs_reg.apps.{command.module}").Config
        for name in (".".join(way) for way in numbers(kind)):
            *_, last = name.split(".")
            with pytest.raises(InputError, match="expected a"):
                check_numbers(dataclasses.make_dataclass("One", [(last, float, float("nan"))])())


@pytest.mark.parametrize("way", [["checkpoint_minutes"], ["train", "render", "far"], ["free", "model", "max_aspect"]])
def test_infinity_is_a_value_of_some(way):
    check_numbers(with_value(Config(data="x"), way, float("inf")))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_presets_are_inside(preset):
    check_numbers(Config.of_preset(preset))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--checkpoint-every", "0"], "--checkpoint-every: expected a finite number of at least 1, got 0"),
        (["--free.train.steps", "-5"], "--free.train.steps: expected at least 0, got -5"),
        (["--train.random-background", "2"], "--train.random-background: expected a share from 0 to 1, got 2.0"),
        (["--train.dropout", "1"], "--train.dropout: expected a share from 0 to below 1, got 1.0"),
        (["--free.model.max-aspect", "0.5"], "--free.model.max-aspect: expected at least 1, got 0.5"),
        (["--free.densify.every", "0"], "--free.densify.every: expected at least 1 step, got 0"),
        (["--train.optim.final-rate", "0"], "--train.optim.final-rate: expected a finite number above 0, got 0.0"),
        (["--terms.ssim.weight", "-0.5"], "--terms.ssim.weight: expected a finite number of at least 0, got -0.5"),
        (["--free.model.lr-scale", "nan"], "--free.model.lr-scale: expected a finite number of at least 0, got nan"),
        (["--free.model.opacity", "1"], "--free.model.opacity: expected a finite number above 0 and below 1, got 1.0"),
        (
            ["--free.model.sh-degree", "4"],
            "--free.model.sh-degree: expected a finite number of at least 0 and at most 3",
        ),
        (["--keep-every", "0"], "--keep-every"),
    ],
)
def test_flags_out_of_bounds_are_one_line(words, text, tmp_path, capsys):
    assert cli.main(["reconstruct", str(tmp_path), *words, "--out", str(tmp_path / "run")]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and f"gs-reg: {text}" in errors and list(tmp_path.iterdir()) == []


def test_files_out_of_bounds_name_the_place():
    with pytest.raises(InputError, match=r"^a\.yaml\.checkpoint_every: expected .* at least 1, got 0$"):
        from_plain(Config, {"checkpoint_every": 0}, "a.yaml", Config())
    with pytest.raises(InputError, match=r"^a\.yaml\.train\.sh_from: expected .* at most 1, got 1\.5$"):
        from_plain(Config, {"train": {"sh_from": [0.5, 1.5]}}, "a.yaml", Config())
    for base in (None, Config()):
        with pytest.raises(InputError, match=r"^a\.yaml\.train\.random_background: expected a share .*, got 2\.0$"):
            from_plain(Config, {"train": {"random_background": 2.0}}, "a.yaml", base)
        with pytest.raises(InputError, match=r"^a\.yaml\.free\.model\.max_aspect: expected at least 1, got 0\.5$"):
            from_plain(Config, {"free": {"model": {"max_aspect": 0.5}}}, "a.yaml", base)


def test_save_times_that_cannot_be():
    for times in ({"every": 0}, {"every": -1}, {"every": 5, "keep_every": 0}, {"every": 5, "minutes": float("nan")}):
        with pytest.raises(InputError, match=r"every: expected a .* at least 1|minutes: expected a number"):
            SaveTimes(**times)
