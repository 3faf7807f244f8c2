"""`make kills`: a small run is killed at random moments of its life, and comes to the same bits all the same."""

import os
import random
import signal
import subprocess
import time

import pytest

from ..conftest import command, run_command, usual_signals

KILLS = int(os.environ.get("KILLS", "200"))
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
"""Chosen from at random: most of the kills cannot be caught."""
FLAGS = ("--preset", "ci", "--checkpoint-every", "4")


@pytest.mark.slow
def test_every_kill_is_made_good(finished, photos, tmp_path):
    began = time.monotonic()
    assert run_command("reconstruct", photos, *FLAGS, "--out", tmp_path / "whole").returncode == 0
    life, chance = time.monotonic() - began, random.Random(int(os.environ.get("SEED", "0")))
    wanted = (finished / "splats.ply").read_bytes()
    for number in range(KILLS):
        run, how, after = tmp_path / f"run_{number}", chance.choice(SIGNALS), chance.uniform(0, life)
        if chance.random() < 0.3:
            run.mkdir()
        process = subprocess.Popen(
            command("reconstruct", photos, *FLAGS, "--out", run),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=usual_signals,
        )
        try:
            said, _ = process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            process.send_signal(how)
            said, _ = process.communicate()
        case = f"kill {number}: {how.name} after {after:.2f} of {life:.2f} s"
        assert b"Traceback" not in said and b"stack trace" not in said, f"{case}\n{said.decode()}"
        begun = (run / "config.yaml").is_file()
        again = ("--resume", "--out", run) if begun else (photos, *FLAGS, "--out", run)
        done = run_command("reconstruct", *again)
        assert done.returncode == 0, f"{case}\n{done.stderr}"
        assert (run / "splats.ply").read_bytes() == wanted, case
        left = [path for path in run.rglob(".*")] + [path for path in tmp_path.glob(f".{run.name}.*")]
        assert not left and (run / "report.html").is_file(), f"{case}: {left}"
        print(f"{case}: {'resumed' if begun else 'started again'}", flush=True)
