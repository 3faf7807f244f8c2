"""What scripts/gpu_check.sh does, step by step; `python -m tests.gpu.check [REPORT [SECONDS]]`.

With a GPU: builds our kernels for it, runs their tests, NVIDIA's memory and race checkers, the benchmark beside gsplat,
and records what gsplat draws; where all gates are passed, `--backend auto` takes our kernels from then on. Without one:
what can be checked on a host. Each step says what it came to, and one that cannot run says why.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gs_reg import _proof
from gs_reg.render import gsplat as gsplat_backend

ROOT = Path(__file__).parents[2]
LIMIT = 560.0
"""Seconds for all steps together, if not told otherwise: what is left is skipped and said so."""

PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
ON_GPU = ("--noconftest", "tests/gpu/test_on_gpu.py", "-m", "gpu")
"""What conftest.py asks for is not on every machine with a GPU, and these tests have no use for it."""


class Skipped(Exception):
    """A step cannot run here; the text says why."""


class Check:
    def __init__(self, report: Path, limit: float = LIMIT):
        self.report, self.limit, self.start = report, limit, time.monotonic()
        self.found: dict[str, Any] = {"ran": torch.cuda.is_available(), "steps": []}
        if self.found["ran"]:
            self.found["gpu"] = torch.cuda.get_device_name()

    @property
    def left(self) -> float:
        return self.limit - (time.monotonic() - self.start)

    def step(self, name: str, job: Callable[[], str | None]) -> bool:
        """Runs one step; returns whether it passed. The report is written anew after each."""
        start, status, detail = time.monotonic(), "passed", ""
        try:
            if self.left < 5:
                raise Skipped("no time left")
            detail = job() or ""
        except Skipped as why:
            status, detail = "skipped", str(why)
        except subprocess.TimeoutExpired:
            status, detail = "skipped", "cut off: it took longer than the time that was left"
        except Exception as error:  # a step that breaks must not take the ones behind it along
            status, detail = "failed", f"{type(error).__name__}: {error}"
        seconds = round(time.monotonic() - start, 1)
        self.found["steps"].append({"name": name, "status": status, "seconds": seconds, "detail": detail})
        self.write()
        print(
            f"{status:8} {name} ({seconds:.0f} s){': ' + detail.strip().splitlines()[-1] if detail else ''}", flush=True
        )
        return status == "passed"

    def write(self) -> None:
        self.report.write_text(json.dumps(self.found, indent=2) + "\n")

    def run(self, *words: str, **environment: str) -> str:
        """A command's output.

        Raises:
            RuntimeError: it failed; the text ends with its last lines.
        """
        done = subprocess.run(
            words,
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=max(self.left, 5),
        )
        if done.returncode:
            raise RuntimeError(f"exit code {done.returncode}\n" + "\n".join(done.stdout.splitlines()[-30:]))
        return done.stdout

    def pytest(self, *words: str) -> str:
        return self.run(*PYTEST, *words).strip().splitlines()[-1]


def tool(name: str, remedy: str) -> str:
    """Where a program is: on the path, or in CUDA_HOME."""
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    found = shutil.which(name) or shutil.which(name, path=f"{home}/bin:{home}/compute-sanitizer")
    if found is None:
        raise Skipped(f"{name} not found: {remedy}")
    return found


def build(check: Check) -> str | None:
    """What setup.py does with GS_REG_CUDA=1, for this card alone."""
    parts = [path for folder in ("gpu", "emu", "include") for path in (ROOT / "cuda" / folder).rglob("*.*")]
    if _proof.CUDA_LIBRARY.exists() and _proof.CUDA_LIBRARY.stat().st_mtime > max(p.stat().st_mtime for p in parts):
        return "built before, after the last change"
    arch = "".join(map(str, torch.cuda.get_device_capability()))
    flags = (ROOT / "cuda" / "gpu" / "nvcc.flags").read_text().split()
    sources = sorted(str(p) for p in (ROOT / "cuda" / "gpu").glob("*.cu"))
    link = ["--threads", "0", "-shared", "-cudart", "static", "-o", str(_proof.CUDA_LIBRARY)]
    target = ["-gencode", f"arch=compute_{arch},code=sm_{arch}"]
    check.run(tool("nvcc", "set CUDA_HOME"), *flags, *target, *link, *sources)


def gsplat_wheel(check: Check) -> None:
    wheel = os.environ.get("GS_REG_GSPLAT_WHEEL")
    if not wheel:
        raise Skipped("GS_REG_GSPLAT_WHEEL names no wheel; scripts/gsplat_wheel.sh builds one")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--force-reinstall"]
    check.run(*command, wheel)


def sanitized(check: Check, kind: str) -> str:
    program = tool("compute-sanitizer", "part of the CUDA toolkit")
    words = [program, "--tool", kind, "--error-exitcode", "9", "--kernel-name", "kernel_substring=gsr"]
    # every block is then an allocation of its own, whose end is watched
    lines = check.run(*words, *PYTEST, *ON_GPU, "-k", "sanitizer", PYTORCH_NO_CUDA_MEMORY_CACHING="1").splitlines()
    return next((line for line in reversed(lines) if "SUMMARY" in line), lines[-1])


def benchmark(check: Check) -> str:
    from .compare import bench
    from .gates import table

    check.found["benchmark"] = found = bench(check.left - 60)
    print(text := table(found), flush=True)
    check.report.with_suffix(".txt").write_text(text + "\n")
    missed = [gate for gate in found["gates"] if gate["passed"] is False]
    if failed := [gate["gate"] for gate in missed if gate["needed"]]:
        raise RuntimeError(f"not passed: {', '.join(failed)}")
    return f"{sum(gate['passed'] is True for gate in found['gates'])} gates passed, {len(missed)} aims missed"


def golden(check: Check) -> str:
    if why := gsplat_backend.missing():
        raise Skipped(f"gsplat: {why[0]}")
    from .golden import record

    path = check.report.parent / "golden_gsplat.npz"
    record(path)
    return f"{path}: put it into tests/gpu, where tests/gpu/test_golden.py reads it"


def prove(check: Check) -> str:
    """Our kernels come first if every step passed and every needed gate did; a missing gsplat proves nothing."""
    failed = [step["name"] for step in check.found["steps"] if step["status"] == "failed"]
    failed += [step["name"] + " (skipped)" for step in check.found["steps"] if step["status"] == "skipped"]
    gates = check.found["benchmark"]["gates"]
    failed += [f"{gate['gate']} (not measured)" for gate in gates if gate["needed"] and gate["passed"] is None]
    _proof.record(check.found["gpu"], failed)
    if failed:
        raise RuntimeError(f"our kernels stay off: {', '.join(failed)}")
    return "`--backend auto` draws with our kernels on this card"


def on_gpu(check: Check) -> None:
    if not check.step("build", lambda: build(check)):
        return
    check.step("gsplat wheel", lambda: gsplat_wheel(check))
    check.step("tests on the GPU", lambda: check.pytest(*ON_GPU))
    check.step("golden data of gsplat", lambda: golden(check))
    check.step("benchmark", lambda: benchmark(check))
    check.step("memory checker", lambda: sanitized(check, "memcheck"))
    check.step("race checker", lambda: sanitized(check, "racecheck"))
    if "benchmark" in check.found:
        check.step("proof", lambda: prove(check))


def on_host(check: Check) -> None:
    """Points 1 to 6 of kernels.md, section 7."""

    def compiles() -> str:
        tool("nvcc", "CUDA kernels not compiled")
        return check.pytest("tests/gpu/test_compile.py", "--timeout=550")

    def aarch64() -> str:
        try:
            return check.run("make", "aarch64")
        except RuntimeError as error:
            raise (Skipped("no cross compiler: pip install ziglang") if "ziglang" in str(error) else error) from None

    check.step("CUDA kernels compile for three architectures, within their ceilings", compiles)
    check.step("CUDA kernels on the emulator", lambda: check.pytest("tests/gpu", "--ignore=tests/gpu/test_compile.py"))
    formulas = ("tests/render/test_gradcheck.py", "tests/render/test_golden.py", "tests/ops")
    check.step("shared formulas in double precision", lambda: check.pytest(*formulas))
    check.step("AArch64 compiles", aarch64)
    check.step(
        "sanitizers on the CPU kernels", lambda: check.run("make", "sanitize", "SANITIZED_ISAS=avx2").splitlines()[-1]
    )


def main(report: str = "build/gpu_check.json", limit: str = str(LIMIT)) -> int:
    path = Path(report)
    path.parent.mkdir(parents=True, exist_ok=True)
    check = Check(path, float(limit))
    if check.found["ran"]:
        on_gpu(check)
    else:
        check.found["why"] = "no GPU: nothing was run on one"
        print(check.found["why"])
        on_host(check)
    check.write()
    print(f"report: {path}")
    return int(any(step["status"] == "failed" for step in check.found["steps"]))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
