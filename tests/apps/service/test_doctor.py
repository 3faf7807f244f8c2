"""`gs-reg doctor`: its table, its exit code, and what it says of broken parts."""

import builtins
import importlib.metadata
import json

import pytest

from gs_reg.apps.service import backends, doctor, packages, system
from gs_reg.apps.service.check import Check
from gs_reg.apps.service.doctor import verdict


def by_name(found):
    return {check.name: check for check in found}


def test_this_machine_can_run(capsys):
    found = by_name(doctor.checks())
    for name in ("Python", "torch", "CUDA device", "native library", "C++ compiler", "CUDA compiler", "memory", "disk"):
        assert found[name].detail
    assert found["torch"].ok and found["native library"].ok and found["OpenCV"].ok
    for check in found.values():
        assert "\n" not in check.detail + check.fix
        assert check.ok or check.fix, check
    assert doctor.main(doctor.Config(json=True)) == 0
    assert {entry["name"] for entry in json.loads(capsys.readouterr().out)} == set(found)


def test_table(monkeypatch, capsys):
    some = [doctor.Check("one", True, "fine"), doctor.Check("two", False, "gone [mesh]", "get [two]")]
    monkeypatch.setattr(doctor, "checks", lambda: some)
    assert doctor.print_doctor() == 0
    out = capsys.readouterr().out
    assert "gone [mesh]" in out and "fix: get [two]" in out and "look at: two" in out and "healthy" not in out
    some.append(doctor.Check("three", False, "broken", "mend", required=True))
    assert doctor.print_doctor() == 1
    assert "BAD" in capsys.readouterr().out


def test_a_machine_without_gpu_compilers_and_optional_parts_is_healthy(monkeypatch, capsys):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(backends, "driver_version", lambda: None)
    monkeypatch.setattr(system, "first_line", lambda *_, **__: None)
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    found = [c for c in doctor.checks() if c.name not in ("memory", "disk")]  # these are another matter
    assert all(check.ok for check in found), [check for check in found if not check.ok]
    assert {c.name for c in found if c.absent} >= {"CUDA device", "C++ compiler", "CUDA compiler", "gsplat", "OpenEXR"}
    monkeypatch.setattr(doctor, "checks", lambda: found)
    assert doctor.print_doctor() == 0
    text = capsys.readouterr().out
    assert "healthy; " in text and "warn" not in text and "BAD" not in text


def test_a_broken_library_shows_the_real_error(monkeypatch):
    def refuse(name, *args, **kwargs):
        if name == "gs_reg._ops":
            raise OSError("libgsr.so: undefined symbol: foo")
        return original(name, *args, **kwargs)

    original = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", refuse)
    found = doctor.checks()
    native = by_name(found)["native library"]
    assert not native.ok and native.detail == "OSError: libgsr.so: undefined symbol: foo" and "compiler" in native.fix
    assert doctor.exit_code(found) == 1


def test_two_opencvs(monkeypatch):
    versions = {"opencv-python": "4.9", "opencv-python-headless": "5.0"}

    def version(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    check = packages.check_opencv()
    assert not check.ok and "opencv-python 4.9, opencv-python-headless 5.0" in check.detail
    assert "pip uninstall -y opencv-python opencv-python-headless" in check.fix


def test_two_opencvs_where_mediapipe_brings_one(monkeypatch):
    versions = {"opencv-contrib-python": "5.1", "opencv-python-headless": "5.0", "mediapipe": "1.2"}
    monkeypatch.setattr(packages, "version_of", versions.get)
    assert packages.check_opencv().ok and "which mediapipe brings" in packages.check_opencv().detail
    del versions["mediapipe"]
    assert not packages.check_opencv().ok


@pytest.mark.parametrize(
    ("driver", "cuda", "text"),
    [(None, "13.0", "no NVIDIA driver"), ("470.1", "13.0", "does not serve CUDA 13.0"), ("580.1", None, "CPU build")],
)
def test_unusable_gpu_is_explained(monkeypatch, driver, cuda, text):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(backends, "driver_version", lambda: driver)
    check = backends.check_cuda()
    assert text in check.detail and (check.ok and check.absent if driver is None else not check.ok and check.fix)


def test_a_gpu_is_no_part_to_install():
    gpu = Check("CUDA device", True, "no NVIDIA driver", absent=True, machine=True)
    part = Check("open3d", True, "not installed", absent=True)
    assert verdict([gpu]) == "healthy"
    assert verdict([gpu, part]) == "healthy; 1 optional part is not installed"
    assert verdict([gpu, part, part]) == "healthy; 2 optional parts are not installed"
