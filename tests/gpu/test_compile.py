"""Every CUDA kernel compiles for all architectures, within the table of ceilings and without spills. Nothing runs."""

import shutil
import subprocess

import pytest

from .instructions import KINDS, allowed, counted, disassembler
from .resources import ROOT, ceilings, reported


@pytest.fixture(scope="module")
def use():
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc not found: CUDA kernels not compiled")
    done = subprocess.run(["make", "-s", "-j2", "gpu-compile"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return reported()


@pytest.mark.timeout(1200)
def test_kernels_stay_below_their_ceilings(use):
    allowed = ceilings()
    assert {name for name, _ in use} == set(allowed)
    assert {arch for _, arch in use} == {"sm_80", "sm_90", "sm_120"}
    over = {
        (name, arch): (registers, shared)
        for (name, arch), (registers, shared, _) in use.items()
        if registers > allowed[name][0] or shared > allowed[name][1]
    }
    assert over == {}


def test_no_float_kernel_spills(use):
    """Those in double prove the formulas, and may."""
    assert {key: value[2] for key, value in use.items() if value[2] and "double" not in key[0]} == {}


def test_pixel_loops_of_three_channels_keep_to_the_plan():
    assert ceilings()["forward_kernel<float, 3>"][0] <= 56
    assert ceilings()["backward_kernel<float, 3, false, false>"][0] <= 96


@pytest.mark.timeout(1200)
def test_pixel_loops_do_not_grow(use):
    """Of no costly kind more than a tenth beyond the table."""
    program = disassembler()
    if program is None:
        pytest.skip("cuobjdump not found: instructions not counted")
    found, most = counted(program), allowed()
    assert set(found) == set(most)
    grown = {
        (kernel, kind): (count, before)
        for kernel, counts in found.items()
        for kind, count, before in zip(KINDS, counts, most[kernel], strict=True)
        if count > 1.1 * before
    }
    assert grown == {}
