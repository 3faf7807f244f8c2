"""Damaged files of every kind are read or refused in one line: no traceback, crash, hang over 5 s or 1 GB of memory.

FUZZ and SEED in the environment: the number of damages a kind (`make fuzz`: 1,000), and the seed.
"""

import json
import os
import queue
import subprocess
import sys
import threading

import pytest

from .kinds import KINDS

FUZZ, SEED = int(os.environ.get("FUZZ", "12")), int(os.environ.get("SEED", "0"))
PATIENCE = 120
"""Seconds of silence of a worker after which it is taken to hang: it measures 5 s of processor time by itself."""


def faults_of(kinds: list[str], count: int, folder) -> list[str]:
    """What went wrong, by workers that are started again behind each damage that they do not survive."""
    faults, left = [], [(kind, 0) for kind in kinds]
    while left:
        (kind, begin), rest = left[0], left[1:]
        # those that are whole go in one worker
        together = [kind, *(name for name, _ in rest)] if begin == 0 else [kind]
        done, found = _worker(together, begin, count, folder)
        faults += found
        if done is None:
            left = [] if begin == 0 else rest
        else:
            name, number = done
            left = [(name, number + 1)] * (number + 1 < count) + left[1 + together.index(name) :]
    return faults


def _worker(kinds: list[str], begin: int, count: int, folder) -> tuple[tuple[str, int] | None, list[str]]:
    """Where the worker ended too soon, if it did, and the faults."""
    words = [sys.executable, "-m", "tests.fuzz.worker", str(folder), str(SEED), str(begin), str(count), *kinds]
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    worker = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    said: list[str] = []
    readers = [threading.Thread(target=lambda: [lines.put(line) for line in worker.stdout] + [lines.put("")])]
    readers += [threading.Thread(target=lambda: said.extend(worker.stderr))]
    for reader in readers:
        reader.start()
    at, faults = None, []
    try:
        while line := lines.get(timeout=PATIENCE if at and at[2] == "begun" else 4 * PATIENCE):
            what, name, number, *more = json.loads(line)
            at = name, number, what
            if what == "done" and more[1]:
                faults.append(f"{name} --seed {SEED} --number {number}: {more[0]}: {more[1]}")
    except queue.Empty:
        worker.kill()
        faults.append(f"{at}, seed {SEED}: hangs")
    worker.wait()
    for reader in readers:
        reader.join()
    if worker.returncode == 0:
        return None, faults
    text = "".join(said[-12:])
    assert at is not None and at[2] == "begun", f"{kinds}: {text}"
    return at[:2], [*faults, f"{at[0]}, seed {SEED}, number {at[1]}: exit code {worker.returncode}: {text}"]


@pytest.mark.timeout(0)  # it watches its workers itself
@pytest.mark.parametrize(
    "kinds",
    [[kind] for kind in KINDS] if "FUZZ" in os.environ else [list(KINDS)],
    ids=lambda kinds: kinds[0] if len(kinds) == 1 else "all",
)
def test_damaged_files(kinds, tmp_path):
    faults = faults_of(kinds, FUZZ, tmp_path)
    print(f"{', '.join(kinds)}: {FUZZ} damages each, seed {SEED}: {len(faults)} faults")
    assert not faults, "\n\n".join(faults[:40])
