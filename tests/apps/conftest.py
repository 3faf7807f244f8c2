"""A tiny synthetic scene as a folder of photos, and one finished run on it; both are read-only to the tests."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gs_reg.data_tools.synthetic import Rig, box_and_sphere, write_transforms_json

STEPS = 30


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """Three training photos and one held out, 64x48."""
    folder = tmp_path_factory.mktemp("photos")
    write_transforms_json(box_and_sphere(Rig(width=64, height=48, cameras=3, held_out=1, samples=1)), folder)
    return folder


def usual_signals() -> None:
    """For a process that is to be interrupted: nohup, and the background of a script, leave it that it is not."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def command(*words) -> list[str]:
    return [sys.executable, "-m", "gs_reg", *map(str, words)]


def run_command(*words, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """A command in a process of its own; two threads, so that the figures do not depend on the machine."""
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    return subprocess.run(command(*words), capture_output=True, text=True, timeout=240, cwd=cwd, env=environment)


@pytest.fixture(scope="session")
def finished(photos, tmp_path_factory) -> Path:
    """The folder of an unbroken run, without --out."""
    cwd = tmp_path_factory.mktemp("work")
    done = run_command("reconstruct", photos, "--name", "tiny", "--preset", "ci", "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    run = cwd / "runs" / "tiny" / "latest"
    (cwd / "stdout.json").write_text(done.stdout)
    return run
