"""Tests on one of the CPU library's instruction sets, in a process of its own, as a library is opened once."""

import os
import subprocess
import sys

import pytest

from gs_reg import _library

ORDER = _library.ISAS[::-1]


def run_on(isa: str, code: str) -> None:
    """Runs the code; skips where this processor does not have the instruction set."""
    if ORDER.index(isa) > ORDER.index(_library.cpu_library().gsr_best_isa().decode()):
        pytest.skip(f"this processor has no {isa}")
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "GS_REG_ISA": isa})
