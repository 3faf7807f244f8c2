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
    """Processor time and stdout of a process. Unlike wall time, it does not depend on other work on the machine."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0
    return used.ru_utime + used.ru_stime, out


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
    ("flag", "value"),
    [
        ("--train.render.sh-degree", "-1"),
        ("--train.render.alpha-min", "nan"),
        ("--train.render.eps2d", "-0.3"),
        ("--free.train.render.supersample", "0"),
        ("--downscale", "0"),
    ],
)
def test_a_number_out_of_its_bounds_is_one_line_and_exit_code_2(flag, value, photos, tmp_path, capsys):
    assert cli.main(["reconstruct", str(photos), "--out", str(tmp_path / "run"), flag, value]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith(f"gs-reg: {flag}: expected ")
    assert not (tmp_path / "run").exists()


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


@pytest.mark.parametrize("words", [["data", "inspect", "PHOTOS", "--json"], ["reconstruct", "--help"]])
def test_a_closed_pipe_is_no_traceback(words, photos):
    line = " ".join(command(*(photos if word == "PHOTOS" else word for word in words)))
    buffered = os.environ | {"PYTHONUNBUFFERED": ""}
    done = subprocess.run(["bash", "-c", f"{line} | true"], capture_output=True, text=True, timeout=100, env=buffered)
    assert done.stderr == ""


def test_doctor_as_a_process():
    done = run_command("doctor", "--json")
    assert (
        done.returncode == 0
        and {"name", "ok", "detail", "fix", "required", "absent"} == json.loads(done.stdout)[0].keys()
    )
