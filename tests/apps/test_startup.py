"""Settings that the program makes before torch is loaded, measured by their effect on torch operations."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import contextlib, io, os, resource, time
from gs_reg.apps.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    assert main(["version"]) == 0
import torch

torch.set_num_threads(2)
values = torch.ones(8_000_000)
idle = []
for _ in range(5):
    values.exp()
    start = time.process_time()
    time.sleep(0.02)
    idle.append(time.process_time() - start)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    values.exp()
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(os.environ["OMP_WAIT_POLICY"], 1000 * min(idle), faults / 5)
"""


def measured(**environment: str) -> tuple[str, float, float]:
    """Wait policy, milliseconds that idle threads spin after an operation, page faults of one operation."""
    unset = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))}
    words = [sys.executable, "-c", PROGRAM]
    out = subprocess.run(words, env=unset | environment, capture_output=True, text=True, check=True).stdout.split()
    return out[0], float(out[1]), float(out[2])


@pytest.mark.skipif(sys.platform != "linux", reason="page faults and OpenMP as on Linux")
def test_idle_threads_sleep_and_memory_is_kept():
    policy, idle, faults = measured()
    assert policy == "PASSIVE" and idle < 1
    assert faults < 1000  # of the 7813 pages of the result


def test_the_users_own_wait_policy_stays():
    assert measured(OMP_WAIT_POLICY="ACTIVE")[0] == "ACTIVE"
