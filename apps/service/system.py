"""Checks of Python, the compilers, the processor, memory and disk."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

from .check import Check, first_line


def check_python() -> Check:
    version, ok = platform.python_version(), sys.version_info >= (3, 11)
    return Check("Python", ok, f"{version} ({sys.executable})", "" if ok else "use Python 3.11 or newer", required=True)


def check_cxx() -> Check:
    name = os.environ.get("CXX") or next((n for n in ("c++", "g++", "clang++") if shutil.which(n)), None)
    line = first_line([name, "--version"]) if name else None
    fix = "" if line else "only for building from source: apt-get install g++"
    return Check("C++ compiler", True, line or "none found", fix, absent=line is None)


def check_nvcc() -> Check:
    line = first_line(["nvcc", "--version"], containing="release")
    fix = "" if line else "only for building GPU kernels"
    return Check("CUDA compiler", True, line or "nvcc not found", fix, absent=line is None)


def check_processor() -> Check:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    sets = [name for name in ("sse4_2", "avx2", "fma", "avx512f") if name in flags]
    name = model or platform.processor() or platform.machine()
    return Check("processor", True, f"{name}, {os.cpu_count()} cores, {' '.join(sets) or platform.machine()}")


def check_memory() -> Check:
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    sizes = {line.split(":")[0]: int(line.split()[1]) / 2**20 for line in lines}  # KiB to GiB
    if not sizes:
        return Check("memory", True, "not known on this system")
    free, total = sizes["MemAvailable"], sizes["MemTotal"]
    ok = free > 2
    return Check(
        "memory", ok, f"{free:.1f} of {total:.1f} GiB free", "" if ok else "close programs, or use --downscale"
    )


def check_disk() -> Check:
    usage = shutil.disk_usage(".")
    ok = usage.free > 2 * 2**30
    detail = f"{usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GiB free in {Path.cwd()}"
    return Check("disk", ok, detail, "" if ok else "free some space, or write elsewhere with --out")
