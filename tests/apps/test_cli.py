"""The command line: help pages and their speed, exit codes, what goes to stdout and what to stderr."""

import json
import os
import subprocess
import sys

import pytest

from gs_reg.apps import cli

from .conftest import command, run_command

HELP_SECONDS = 1.5


def processor_seconds(words) -> tuple[float, str]:
    """Processor time and stdout of a process: the least of three, as caches and cores shared with others cost some."""
    times = []
    while not times or (times[-1] >= HELP_SECONDS and len(times) < 3):
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        out = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        assert status == 0
        times.append(used.ru_utime + used.ru_stime)
    return min(times), out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_is_fast_and_says_what_each_flag_does(name):
    seconds, text = processor_seconds(command(*name.split(), "--help"))
    assert seconds < HELP_SECONDS
    assert f"gs-reg {name}" in text and cli.COMMANDS[name].help.split(":")[0][:40] in text and "-q: no progress" in text


def test_help_with_mock_modules_is_the_real_help():
    real = "import torch; from gs_reg.apps.cli import main; main(['reconstruct', '--help-all'])"
    texts = [
        subprocess.run(words, capture_output=True, text=True, timeout=100).stdout
        for words in ([sys.executable, "-c", real], command("reconstruct", "--help-all"))
    ]
    assert texts[0] == texts[1] and "--terms.l1.weight" in texts[0] and "--train.render.eps2d" in texts[0]
    assert "DATA" in texts[0]


def test_help_shows_what_people_use_with_the_values_of_the_preset():
    seconds, text = processor_seconds(command("reconstruct", "--preset", "ci", "--help"))
    flags = {word for word in text.replace(",", " ").replace(":", " ").split() if word.startswith("--")}
    shown = {flag for flag in flags if not flag.startswith("--no-")}
    assert seconds < HELP_SECONDS and 15 <= len(shown) <= 22
    assert {"--views", "--preset", "--steps", "--backend", "--seed", "--device", "--help-all"} <= shown
    words = " ".join(text.replace("│", " ").split())
    assert "proportions; default those of the preset. (default: 30)" in words and "(default: ci)" in words
    assert "--terms.l1.weight" not in text


def test_help_all_has_the_values_of_the_preset_too():
    seconds, text = processor_seconds(command("reconstruct", "--help-all", "--preset", "paper"))
    words = " ".join(text.replace("│", " ").split())
    assert seconds < HELP_SECONDS and "(default: 13000)" in words and "--coherent.on, --coherent.no-on" in words


def test_help_of_a_preset_that_is_none(capsys):
    assert cli.main(["reconstruct", "--preset", "bets", "--help"]) == 2
    assert "preset: expected one of best, rays" in capsys.readouterr().err


def test_first_page(capsys):
    for words in ([], ["--help"], ["-h"]):
        assert cli.main(words) == 0
        text = capsys.readouterr().out
        assert all(f"  {name} " in text for name in cli.COMMANDS) and "130 interrupted" in text


@pytest.mark.parametrize("word", sorted(cli.FAMILIES))
def test_the_first_word_of_commands_lists_them(word, capsys):
    for words in ([word], [word, "--help"], [word, "-h"]):
        assert cli.main(words) == 0
        out, err = capsys.readouterr()
        names = [name for name in cli.COMMANDS if name.startswith(f"{word} ")]
        assert all(f"  {name} " in out for name in names) and not err and "reconstruct" not in out
    assert cli.main([word, names[0].split()[1] + "x"]) == 2
    assert f"did you mean {names[0]!r}?" in capsys.readouterr().err
    assert cli.main([word, "zzzzzzzzzzzz"]) == 2
    assert names[0] in capsys.readouterr().err


def test_unknown_command(capsys):
    assert cli.main(["reconstuct", "x"]) == 2
    assert "did you mean 'reconstruct'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value", "name"),
    [
        ("--train.render.sh-degree", "-1", ""),
        ("--train.render.alpha-min", "nan", ""),
        ("--train.render.eps2d", "-0.3", ""),
        ("--free.train.render.supersample", "0", ""),
        ("--free.train.render.far", "0.001", "more than near, 0.01, got 0.001"),
        ("--train.dropout", "1.5", "a share from 0 to below 1, got 1.5"),
        ("--train.random-background", "3", "a share from 0 to 1, got 3.0"),
        ("--free.train.optim.final-rate", "0", "a finite number above 0, got 0.0"),
        ("--free.model.max-aspect", "0.5", "at least 1, got 0.5"),
        ("--free.densify.every", "0", "at least 1 step, got 0"),
        ("--train.steps", "-2", "at least 0, got -2"),
        ("--views", "99", "2 to 3 (the photos that are not held out), got 99"),
        ("--test-every", "-1", "a finite number of at least 0, got -1"),
        ("--mask-erode", "-1", "a finite number of at least 0, got -1"),
        ("--downscale", "0.5", "auto or a number >= 1, got 0.5"),
        ("--long-side", "3", "32 px or more, got 3"),
        ("--seed", "1.5", "a whole number, got 1.5"),
        ("--steps", "abc", "a whole number or None, got abc"),
        ("--downscale", "half", "auto or a number, got half"),
        ("--train.sh-from", "a", "numbers, got a"),
        ("--train.optim.final-rate", "q", "a number, got q"),
        ("--masks", "grey", "one of auto, none, ignore, transparent, dark, got grey"),
        ("--backend", "None", "one of auto, native, gsplat, reference, got None"),
        ("--depth.kind", "None", "one of metric, depth, disparity, got None"),
        ("--preset", "bets", "one of best, rays, paper, paper-short, plain, ci, got 'bets'"),
    ],
)
def test_a_value_that_cannot_be_is_one_line_that_names_its_flag(flag, value, name, photos, tmp_path, capsys):
    assert cli.main(["reconstruct", str(photos), "--out", str(tmp_path / "run"), flag, value]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines()[-1].startswith(f"gs-reg: {flag}: expected {name}")
    assert err.count("\n") == 1 and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ("teacher train --stage coarser", "--stage: 'coarser' is none of coarse, decoder, fine"),
        ("teacher train --minutes -1", "--minutes: expected more than 0, got -1"),
        ("teacher data --held-out 1", "--held-out: expected at least 24, got 1"),
        ("teacher data --size 40", "--size: expected a multiple of 32, got 40"),
        ("render RUN --what train --fps 5", "--fps: no effect: --what train"),
    ],
)
def test_the_other_commands_name_their_flags_too(flags, text, tmp_path, capsys):
    assert cli.main([*flags.split(), *(("--out", str(tmp_path / "x")) if "teacher" in flags else ())]) == 2
    assert capsys.readouterr().err.startswith(f"gs-reg: {text}")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("train.render.far: 0.001", ".train.render.far: expected more than near"),
        ("free.model.max_aspect: 0.5", ".free.model.max_aspect: expected a"),
        ("train.dropout: 1.5", ".train.dropout: expected a share"),
        ("steps: many", ".steps: expected a whole number or null, got 'many'"),
        ("downscale: half", ".read.downscale: expected auto or a number, got 'half'"),
        ("masks: grey", ".read.masks: expected one of auto, none"),
        ("seed: 1.5", ".seed: expected a whole number, got 1.5"),
        ("preset: bets", ".preset: expected one of best, rays"),
        ("preset: {}", ".preset: expected one of best, rays"),
        ("preset: [ci]", ".preset: expected one of best, rays"),
        ("preset: 0.5", ".preset: expected one of best, rays"),
        ("preset: .nan", ".preset: expected one of best, rays"),
    ],
)
def test_a_value_of_a_file_that_cannot_be_is_named_in_the_file(text, named, photos, tmp_path, capsys):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    assert cli.main(["reconstruct", str(photos), "--config", str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"gs-reg: {file}{named}")


def test_what_help_lists_as_choices_is_what_is_accepted(photos, capsys):
    words = run_command("reconstruct", "--help-all").stdout
    assert "--backend {auto,native,gsplat,reference}" in words and "--depth.kind {metric,depth,disparity}" in words
    for name in ("auto", "native", "reference"):
        assert cli.main(["reconstruct", str(photos), "--dry-run", "--backend", name]) == 0


def test_a_wrong_flag_is_said_once(photos, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["reconstruct", str(photos), "--stepps", "3"])
    assert ended.value.code == 2 and capsys.readouterr().err.count("stepps") == 1


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert lines["gs-reg"] == "0.1.0" and lines["torch"][0].isdigit() and lines["native"] in ("avx512", "avx2", "base")


def test_json_and_table_of_a_folder(photos, capsys):
    assert cli.main(["data", "inspect", str(photos), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["train"] == ["train_00.png", "train_01.png", "train_02.png"] and summary["test"] == ["test_00.png"]
    assert cli.main(["data", "inspect", str(photos)]) == 0
    text = capsys.readouterr().out
    assert "train_02.png" in text and "64x48" in text and "70.4" in text


def test_quiet_and_verbose(photos, capsys):
    cli.main(["reconstruct", str(photos), "--dry-run", "-q"])
    assert capsys.readouterr() == ("", "")
    cli.main(["-q", "reconstruct"])
    assert "no command" in capsys.readouterr().err
    cli.main(["reconstruct", str(photos), "--dry-run", "-v"])
    assert "train_00.png" in capsys.readouterr().err


WRITERS = [["data", "inspect", "PHOTOS", "--json"], ["reconstruct", "--help"], [], ["--help"], ["avatar"], ["version"]]


@pytest.mark.parametrize("words", WRITERS)
def test_a_closed_pipe_is_no_traceback(words, photos):
    line = " ".join(command(*(photos if word == "PHOTOS" else word for word in words)))
    buffered = os.environ | {"PYTHONUNBUFFERED": ""}
    done = subprocess.run(["bash", "-c", f"{line} | true"], capture_output=True, text=True, timeout=100, env=buffered)
    assert done.stderr == ""


@pytest.mark.parametrize("words", WRITERS)
def test_a_full_disk_behind_stdout_is_one_line(words, photos):
    with open("/dev/full", "w") as full:
        words = command(*(photos if word == "PHOTOS" else word for word in words))
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=100)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("gs-reg: No space left on device")
    assert "Traceback" not in done.stderr


def test_doctor_as_a_process():
    done = run_command("doctor", "--json")
    assert (
        done.returncode == 0
        and {"name", "ok", "detail", "fix", "required", "absent", "machine"} == json.loads(done.stdout)[0].keys()
    )
