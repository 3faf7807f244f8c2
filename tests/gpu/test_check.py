"""The one call for a GPU machine, as far as a host can try it: steps, gates, table, and the benchmark's own training
step on emulated kernels."""

import dataclasses
import json
import subprocess

import pytest
import torch

from gs_reg import _proof
from gs_reg.apps.bench.scenes import make
from gs_reg.types import Cameras

from . import check as checks
from . import compare
from .check import Check, Skipped
from .gates import ERROR, table
from .scenes import Inputs, native, native_with_counts


def row(scene, backend, forward, backward, peak=100.0, image=1e-6, **more):
    times = {"forward": forward, "backward": backward, "wall": 1.0, "busy": 0.5, "step": 2.0}
    times |= {"captured": None, "graph": None}
    errors = {"image_error": image, "gradient_error": 1e-5}
    return {"scene": scene, "backend": backend, "peak_mib": peak, **times, **errors, **more}


@pytest.fixture
def h100(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")


def test_gates_and_table(h100):
    rows = [row("A", "native", 0.05, 0.1, captured=0.1, graph=0.3), row("A", "gsplat", 0.3, 0.5)]
    rows += [
        row("A", "gsplat packed", 0.2, 0.2),
        row("C", "native", 1.0, 1.0, captured=0.6),
        row("C", "gsplat", 0.7, 1),
    ]
    rows += [row("B", "native", 0.5, 1.0, peak=61.0, captured=1.2), row("B", "gsplat", 3.0, 4.0)]
    rows += [row("tiny", "native", 1, 1, image=0.1), row("F", "native", 1, 1, image=1.5e-4)]
    gates = compare.gates(rows, {"A/D=64": "no data"})
    found = {g["gate"]: g["passed"] for g in gates}
    assert found["A: faster than gsplat"] is True and found["C: faster than gsplat"] is False  # 2.67 and 0.85
    assert found["A: captured, at least 3 times gsplat"] is True  # 4.0
    assert found["C: captured, at least 3 times gsplat"] is False  # 2.83
    assert found["F: faster than gsplat"] is None and found["A/D=64: captured, at least 4 times gsplat"] is None
    assert found["A: twice the floor"] is True and found["B: twice the floor"] is False
    assert found["B: 60 % of gsplat's memory"] is False and found["A: a step as a graph in 0.35 ms"] is True
    assert found["tiny: image"] is False and found["A: image"] is True and found["F: image"] is True
    text = table({"gpu": "NVIDIA H100", "rows": rows, "gates": gates, "left_out": {"A/D=64": "no data"}})
    assert "FAIL  tiny: image" in text and "FAIL  C: faster" in text and "miss  C: captured" in text
    assert "left out: A/D=64: no data" in text and "2.667" in text and "4.000" in text
    widths = {len(line) for line in text.splitlines()[: len(rows) + 1]}
    assert len(widths) == 1


def test_what_a_program_says():
    assert compare.said("echo", "fine") == "fine" and compare.said("false") is None
    assert compare.said("no such program") is None


def test_without_gsplat_nothing_is_claimed(h100):
    found = compare.gates([row("A", "native", 0.05, 0.1)], {})
    assert all(g["passed"] is None for g in found if "gsplat" in g["gate"])


def test_steps_are_told_apart(tmp_path):
    check = Check(tmp_path / "report.json")
    assert check.step("one", lambda: "fine")
    assert not check.step("two", lambda: check.run("false"))

    def no_tool():
        raise Skipped("compute-sanitizer not found")

    assert not check.step("three", no_tool)
    check.start -= checks.LIMIT - 5.5
    assert not check.step("four", lambda: check.run("sleep", "60"))
    check.start -= 10
    assert not check.step("five", lambda: "never run")
    written = json.loads((tmp_path / "report.json").read_text())["steps"]
    assert [step["status"] for step in written] == ["passed", "failed", *["skipped"] * 3]
    assert "exit code 1" in written[1]["detail"] and "cut off" in written[3]["detail"]
    assert written[4]["detail"] == "no time left"


def test_a_host_says_what_it_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    calls = []

    def run(words, **_):
        calls.append(words)
        failed = words[:2] == ("make", "aarch64")
        return subprocess.CompletedProcess(words, int(failed), "no cross compiler: pip install ziglang\n3 passed\n")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(checks.shutil, "which", lambda *_, **__: None)
    assert checks.main(str(tmp_path / "report.json")) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    status = {step["name"].split()[0]: step["status"] for step in report["steps"]}
    assert not report["ran"] and "no GPU" in report["why"]
    assert status == {"CUDA": "passed", "shared": "passed", "AArch64": "skipped", "sanitizers": "passed"}
    assert report["steps"][0]["status"] == "skipped" and "nvcc not found" in report["steps"][0]["detail"]
    assert "no GPU: nothing was run on one" in capsys.readouterr().out and len(calls) == 4


def test_only_a_whole_check_proves(tmp_path, monkeypatch):
    library = tmp_path / "lib.so"
    library.write_bytes(b"")
    monkeypatch.setattr(_proof, "CUDA_LIBRARY", library)
    monkeypatch.setattr(_proof, "RECORD", tmp_path / "proof.json")
    _proof.doubt.cache_clear()
    check = Check(tmp_path / "report.json")
    check.found |= {
        "gpu": "H100",
        "benchmark": {"gates": [{"gate": "A: twice the floor", "passed": None, "needed": False}]},
    }
    check.step("build", lambda: None)
    assert check.step("proof", lambda: checks.prove(check)) and _proof.doubt("H100") is None
    check.found["benchmark"]["gates"].append({"gate": "A: faster than gsplat", "passed": None, "needed": True})
    check.found["steps"] = [{"name": "race checker", "status": "skipped"}]
    assert not check.step("proof", lambda: checks.prove(check))
    assert "race checker (skipped), A: faster than gsplat (not measured)" in _proof.doubt("H100")
    _proof.doubt.cache_clear()


@pytest.fixture
def small():
    scene = make("tiny")
    parts = {name: getattr(scene, name)[:60] for name in ("means", "quats", "scales", "opacities", "features")}
    K = torch.tensor([[[20.0, 0, 10], [0, 20, 8], [0, 0, 1]]])
    return dataclasses.replace(scene, **parts, cameras=Cameras(scene.cameras.viewmats, K, 20, 16))


def test_the_benchmark_judges_by_double_precision(small):
    expected = compare.Correct.of(small)
    found = compare.errors(native, Inputs.of(small, "cpu"), expected)
    assert 0 < found["image_error"] < ERROR[0] and 0 < found["gradient_error"] < ERROR[1]
    wrong = compare.errors(lambda inputs: native(inputs) + 1e-3, Inputs.of(small, "cpu"), expected)
    assert wrong["image_error"] > ERROR[0]


@pytest.mark.parametrize("slack", [None, 1.2, 0.8])
def test_the_benchmarks_step_learns_what_torch_does(emulated, small, slack, monkeypatch):
    """With memory for a given number of splats too; where that is too little nothing changes."""
    monkeypatch.setattr(compare, "RATE", 1e-3)
    photo = torch.rand(1, 16, 20, 3)
    ours, theirs = Inputs.of(small, "cpu"), Inputs.of(small, "cpu")
    seen = (native_with_counts(theirs)[1][0] > 0).all(-1)
    with emulated():
        counts = native_with_counts(ours)[2].tolist()
        step = compare.NativeStep(ours, photo, tuple(int(n * slack) for n in counts) if slack else (0, 0))
        for number in (1, 2):
            step(number)
    step = compare._torch_step(native, theirs, photo)
    for _ in range(2 if slack != 0.8 else 0):
        step(0)
    for name, value in ours.leaf.items():
        torch.testing.assert_close(value[seen], theirs.leaf[name][seen], rtol=1e-3, atol=2e-5)
