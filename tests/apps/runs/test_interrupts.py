"""Kills, signals, locks and broken files of a run: each ends in one line, and the run goes on."""

import json
import queue
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gs_reg.apps import cli
from gs_reg.apps.runs.folder import new_run
from gs_reg.apps.runs.interrupts import run_child
from gs_reg.apps.runs.lock import locked
from gs_reg.apps.runs.training import StopSignal
from gs_reg.errors import InputError
from gs_reg.io import atomic
from gs_reg.io.atomic import remove_leftovers

from ..conftest import STEPS, command, run_command, usual_signals
from ..scenes.test_reconstruct import assert_same_bits, broken_off


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_signals_save_like_ctrl_c(finished, photos, tmp_path, how):
    run = tmp_path / "run"
    code, errors = broken_off(photos, run, how, (run / "events.jsonl").exists)
    assert code == 128 + how and "saved at step" in errors.splitlines()[-1]
    assert "stack trace" not in errors and "Traceback" not in errors
    done = run_command("reconstruct", "--resume", "--out", run)
    assert done.returncode == 0, done.stderr
    assert_same_bits(run, finished)


def test_sigterm_while_pycolmap_is_imported_waits_for_our_handler():
    """It comes where pycolmap's own handler is in place and ours not yet again, in a process with numpy's threads."""
    code = (
        "import os, signal\nfrom gs_reg.apps.runs import interrupts\nagain = interrupts._set_again\n"
        "def late():\n    os.kill(os.getpid(), signal.SIGTERM)\n    again()\n"
        "interrupts.keep_handlers()\nimport numpy\ninterrupts._set_again = late\n"
        "with interrupts.signals_handled():\n    try:\n        import pycolmap\n"
        "    except KeyboardInterrupt:\n        print('ours')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ours\n", "")


def test_sigterm_after_pycolmap_was_imported_is_one_line():
    program = (
        "import os, signal\nfrom gs_reg.apps.runs.interrupts import keep_handlers, signals_handled\nkeep_handlers()\n"
        "with signals_handled():\n    import pycolmap\n    try:\n        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    except KeyboardInterrupt as error:\n        print(error.number)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert (done.stdout, done.stderr, done.returncode) == ("15\n", "", 0)


def test_the_first_bar_of_a_child_moves_that_of_its_parent():
    program = (
        "from gs_reg.apps.runs.progress import stage_bar\n"
        "for title in ('first', 'second'):\n    with stage_bar(title) as progress:\n"
        "        progress(f'{title} photo 1/2', 0.25)\n        progress('', 0.5)"
    )
    heard: queue.Queue = queue.Queue()
    done = run_child([sys.executable, "-c", program], lambda *report: heard.put(report))
    assert (done.returncode, done.stderr) == (0, "")
    assert [heard.get(timeout=10) for _ in range(2)] == [("first photo 1/2", 0.25), ("", 0.5)]
    assert heard.empty()


KILL_AT = {
    "while it is filled": "folder.write_settings = lambda *_: os.kill(os.getpid(), 9)",
    "while it is moved": "folder._move_out = move",
}


@pytest.mark.parametrize("when", KILL_AT)
def test_killed_before_the_folder_is_complete_then_started_again(tmp_path, when):
    """In a folder that exists, as a mounted one does."""
    out = tmp_path / "run"
    out.mkdir()
    program = (
        "import os, json\nfrom pathlib import Path\nfrom gs_reg.apps.runs import folder\n"
        "def move(hidden, path):\n    (hidden / '.moved').write_text(json.dumps(['a', 'config.yaml']))\n"
        "    (hidden / 'a').rename(path / 'a')\n    os.kill(os.getpid(), 9)\n"
        f"{KILL_AT[when]}\n"
        "def fill(run):\n    run.write('a', 'x')\n    run.write('config.yaml', 'y')\n"
        "    folder.write_settings(run, 0)\n"
        f"folder.new_run(Path({str(out)!r}), Path('none'), fill)\n"
    )
    if "move" in KILL_AT[when]:
        program = program.replace("    folder.write_settings(run, 0)\n", "")
    assert subprocess.run([sys.executable, "-c", program], timeout=100).returncode == -9
    assert any(out.iterdir()) and not (out / "config.yaml").exists()
    run = new_run(out, tmp_path, lambda run: run.write("config.yaml", "z"))
    assert [path.name for path in run.path.iterdir()] == ["config.yaml"]


def test_a_new_folder_appears_complete(tmp_path):
    out = tmp_path / "run"

    def fill(run):
        run.write("config.yaml", "x")
        assert not out.exists() and run.path.name.startswith(".run.")

    dead = tmp_path / ".run.999999999-0123abcd"
    dead.mkdir()
    assert new_run(out, tmp_path, fill).path == out
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert [path.name for path in out.iterdir()] == ["config.yaml"]


def test_leftovers_go_and_other_hidden_files_stay(tmp_path):
    (tmp_path / "renders").mkdir()
    for name in ("renders/.a.999999999-0123abcd.png", ".mine", ".b.1-0123abcd.png"):
        (tmp_path / name).write_text("half")
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob(".*")) == [".b.1-0123abcd.png", ".mine"]  # 1 lives


def test_a_file_that_its_writer_finishes_meanwhile_is_no_leftover(tmp_path, monkeypatch):
    half = tmp_path / ".a.1-0123abcd.png"
    half.write_text("half")

    def finished_meanwhile(_):
        half.rename(tmp_path / "a.png")
        return True

    monkeypatch.setattr(atomic, "_runs", finished_meanwhile)
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_half_a_picture_is_not_read(finished, tmp_path):
    run = shutil.copytree(finished.resolve(), tmp_path / "run")
    for folder in ("renders/test", "renders/train", "depths", "videos"):
        for suffix in ("png", "mp4"):
            (run / folder / f".half.999999999-0123abcd.{suffix}").write_text("half")
    assert cli.main(["eval", str(run), "-q"]) == 0
    assert not list(run.rglob(".*"))


def test_the_second_of_two_is_told_who_holds_the_run(tmp_path):
    program = (
        "from pathlib import Path\nfrom gs_reg.apps.runs.lock import locked\n"
        f"with locked(Path({str(tmp_path)!r})):\n    print('held', flush=True)\n    input()"
    )
    other = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    with pytest.raises(InputError, match=f"in use by process {other.pid} on "), locked(tmp_path):
        pass
    other.kill()
    other.communicate()
    with locked(tmp_path):  # the dead one's is taken over
        assert (tmp_path / ".lock").is_file()
    assert list(tmp_path.iterdir()) == []


def wait_for(condition, process):
    began = time.monotonic()
    while not condition():
        assert process.poll() is None and time.monotonic() - began < 200
        time.sleep(0.002)


def test_of_two_resumes_at_once_one_is_told_of_the_other(photos, finished, tmp_path):
    run = tmp_path / "run"
    broken_off(photos, run, signal.SIGKILL, (run / "events.jsonl").exists)
    words = ["reconstruct", "--resume", "--out", run]
    first = subprocess.Popen(command(*words, "--stop-after", "train"), stderr=subprocess.PIPE, text=True)
    wait_for(
        lambda: f"process {first.pid} on" in (run / ".lock").read_text() if (run / ".lock").is_file() else "", first
    )
    first.send_signal(signal.SIGSTOP)
    second = run_command(*words)
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 2 and second.stdout == ""
    assert second.stderr.splitlines()[-1].startswith(f"gs-reg: {run}: in use by process {first.pid} on ")
    assert first.wait(timeout=200) == 0, first.stderr.read()
    assert_same_bits(run, finished)


def test_a_killed_sweep_leaves_no_run_going_and_goes_on(photos, tmp_path):
    settings = {"preset": "ci", "start": "random", "free": {"train": {"steps": 4000}}, "train": {"steps": 0}}
    plan = {"scenes": {"tiny": {"data": str(photos)}}, "variants": {"a": {**settings, "stop_after": "train"}}}
    (tmp_path / "plan.yaml").write_text(json.dumps(plan))
    run, words = (
        tmp_path / "out" / "tiny" / "a" / "seed_0",
        ["sweep", tmp_path / "plan.yaml", "--out", tmp_path / "out"],
    )
    sweep = subprocess.Popen(command(*words), stderr=subprocess.DEVNULL)
    wait_for((run / "events.jsonl").exists, sweep)
    child = int((run / ".lock").read_text().split()[1])
    sweep.kill()
    sweep.wait()
    began = time.monotonic()
    while is_running(child):
        assert time.monotonic() - began < 20
        time.sleep(0.01)
    assert json.loads((run / "status.json").read_text())["state"] == "running"
    again = subprocess.Popen(command(*words), stderr=subprocess.PIPE, text=True, preexec_fn=usual_signals)
    wait_for(lambda: (run / ".lock").is_file() and str(child) not in (run / ".lock").read_text(), again)
    again.send_signal(signal.SIGTERM)
    _, errors = again.communicate(timeout=100)
    assert again.returncode == 143 and "interrupted" in errors and "in use" not in errors


def is_running(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_checkpoints_by_time(photos, finished, tmp_path):
    words = ["reconstruct", str(photos), "--preset", "ci", "--stop-after", "train", "--keep-every", "1", "-q"]
    assert cli.main([*words, "--checkpoint-minutes", "0", "--out", str(tmp_path / "run")]) == 0
    kept = sorted(int(path.name[5:]) for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept == list(range(STEPS + 1))
    assert (tmp_path / "run" / "splats.ply").read_bytes() == (finished / "splats.ply").read_bytes()


def test_a_second_signal_interrupts_at_once():
    with StopSignal() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def nan(folder):
    path = next(folder.glob(f"checkpoints/step_{STEPS:09d}/model.safetensors"))
    tensors = load_file(path)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name].view(-1)[0] = torch.nan
    save_file(tensors, path)
    return path.relative_to(folder), f"{name} has NaN"


def changed(name, change):
    """A tensor of the last checkpoint changed, whose checksums are not known."""

    def spoil(folder):
        path = folder / f"checkpoints/step_{STEPS:09d}/{name}.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)
        state = json.loads((path.parent / "state.json").read_text())
        del state["sha256"]
        (path.parent / "state.json").write_text(json.dumps(state))
        return path.parent.relative_to(folder), ""

    return spoil


def replaced(key, change):
    return lambda tensors: tensors.update({key: change(tensors[key]).contiguous()})


CHANGES = [
    changed("model", replaced("opacity_logits", lambda value: value[:-1])),
    changed("model", replaced("quats", lambda value: value[:, :3])),
    changed("model", replaced("log_scales", lambda value: value.double())),
    changed("model", replaced("filled", lambda value: value[:-5])),
    changed("model", replaced("sh_rest", lambda value: value[:, :1])),
    changed("model", lambda tensors: tensors.pop("dc")),
    changed("optim", replaced("groups.dc.0.exp_avg_sq", lambda value: value[:-1])),
    changed("optim", replaced("groups.dc.0.exp_avg", lambda value: value.double())),
    changed("optim", replaced("groups.dc.0.step", lambda value: value.expand(2))),
    changed("optim", lambda tensors: tensors.pop("groups.dc.0.exp_avg")),
]


def spoiled(name, content):
    def spoil(folder):
        (folder / name).write_bytes(content)
        return name, ""

    return spoil


STATE = f"checkpoints/step_{STEPS:09d}/state.json"
SPOILS = [nan, *CHANGES] + [
    spoiled(name, content)
    for name in ("config.yaml", "dataset.json", STATE, f"checkpoints/step_{STEPS:09d}/optim.safetensors")
    for content in (b"", b"\xff\xfe", b"[1]", b"{}" if name != "config.yaml" else b"{1: [2]}", b"[" * 5000)
]


@pytest.mark.parametrize("spoil", SPOILS)
def test_broken_files_of_a_run_are_named(spoil, finished, tmp_path, capsys):
    run = shutil.copytree(finished.resolve(), tmp_path / "run")
    name, text = spoil(run)
    assert cli.main(["reconstruct", "--resume", "--out", str(run), "-q"]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and str(run / name) in errors and text in errors


@pytest.mark.parametrize("name", ["scene.json", "timing.json"])
@pytest.mark.parametrize("content", [b"", b"\xff", b"[1]", b"{}", b'{"cameras": 3, "total": "x"}'])
def test_broken_files_of_eval_are_named(name, content, finished, tmp_path, capsys):
    run = shutil.copytree(finished.resolve(), tmp_path / "run")
    (run / name).write_bytes(content)
    assert cli.main(["eval", str(run), "-q"]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and str(run / name) in errors


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "> /dev/full", "2> /dev/full"])
def test_closed_and_full_streams(closed, photos):
    line = " ".join(command("data", "inspect", photos, "--json"))
    done = subprocess.run(["bash", "-c", f"{line} {closed}"], capture_output=True, text=True, timeout=100)
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert done.returncode == (2 if closed == "> /dev/full" else 0)
    if closed.startswith("2>"):
        assert json.loads(done.stdout)["train"]


def test_names_that_the_locale_does_not_have(photos, tmp_path):
    data = shutil.copytree(photos, tmp_path / "größe")
    words = ["env", "LC_ALL=C", "PYTHONUTF8=0", *command("data", "inspect", data)]
    done = subprocess.run(words, capture_output=True, timeout=100)
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr


def test_a_deleted_working_folder(photos, tmp_path):
    line = f"mkdir gone; cd gone; rmdir ../gone; {sys.executable} -c 'from gs_reg.apps.cli import main; exit(main())'"
    words = ["bash", "-c", f"{line} data inspect {photos}"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=100)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("gs-reg: the working folder was deleted")


def test_a_link_of_a_start_that_was_killed_goes(tmp_path):
    left = tmp_path / ".latest.4999999-0123abcd"  # of no process: Linux numbers them below 2^22
    left.symlink_to("20260101-000000")
    other = tmp_path / ".other.4999999-0123abcd"
    other.mkdir()
    run = new_run(None, tmp_path, lambda run: run.write("config.yaml", "z"))
    assert (tmp_path / "latest").resolve() == run.path.resolve()
    assert not left.is_symlink() and other.is_dir()
