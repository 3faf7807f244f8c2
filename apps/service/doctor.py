"""`gs-reg doctor`: what this machine can do, one line each, and how to mend what it cannot."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Config:
    json: bool = False
    """Print the checks as JSON on stdout."""


@dataclass(frozen=True)
class Check:
    name: str
    ok: bool
    detail: str
    """What was found, or the real error."""
    fix: str = ""
    """What to do; empty where all is well."""
    required: bool = False
    """Nothing works without it: the exit code is 1 where it fails."""


def main(config: Config) -> int:
    if config.json:
        found = checks()
        print(json.dumps([asdict(check) for check in found], indent=2))
        return exit_code(found)
    return print_doctor()


def exit_code(found: list[Check]) -> int:
    return int(any(check.required and not check.ok for check in found))


def print_doctor() -> int:
    """Prints all checks as a table; returns 0, or 1 where something required is broken."""
    from rich.console import Console
    from rich.table import Table

    found = checks()
    table = Table(box=None, padding=(0, 1), show_header=False)
    for column in ({"width": 4}, {"no_wrap": True}, {"overflow": "fold"}):
        table.add_column(**column)
    for check in found:
        mark = "[green]ok[/]" if check.ok else "[red]BAD[/]" if check.required else "[yellow]--[/]"
        table.add_row(mark, check.name, _escaped(check.detail))
        if check.fix:
            table.add_row("", "", f"[dim]fix:[/] {_escaped(check.fix)}")
    console = Console()
    console.print(table)
    code = exit_code(found)
    optional = sum(not check.ok for check in found)
    console.print(
        "[red]something required is broken[/]" if code else f"gs-reg can run here; {optional} optional parts missing"
    )
    return code


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def checks() -> list[Check]:
    """All checks, in the order in which a person would ask; none raises."""
    singles: list[Callable[[], Check]] = [_python, _torch, _cuda, _native, _native_cuda, _gsplat_kernels, _cxx, _nvcc]
    singles += [_processor, _memory, _disk, _opencv]
    return [_guarded(check) for check in singles] + [_part(*part) for part in OPTIONAL]


def _guarded(check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:
        return Check(check.__name__.strip("_"), False, f"{type(error).__name__}: {error}", required=check in REQUIRED)


def _python() -> Check:
    version, ok = platform.python_version(), sys.version_info >= (3, 11)
    return Check("Python", ok, f"{version} ({sys.executable})", "" if ok else "use Python 3.11 or newer", required=True)


def _torch() -> Check:
    try:
        import torch
    except Exception as error:
        return Check("torch", False, f"{type(error).__name__}: {error}", "pip install torch", required=True)
    build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU"
    return Check("torch", True, f"{torch.__version__}, {build}, {torch.get_num_threads()} threads", required=True)


def driver_version() -> str | None:
    """Version of the NVIDIA driver, from the kernel or nvidia-smi; None where there is none."""
    proc = Path("/proc/driver/nvidia/version")
    if proc.exists():
        words = proc.read_text().split()
        return next(
            (word for word in words if word.count(".") in (1, 2) and word.replace(".", "").isdigit()), "unknown"
        )
    return _first_line(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])


def _cuda() -> Check:
    import torch

    driver = driver_version()
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        # is_available() does not say that kernels for this GPU are in the build.
        worked = float(torch.ones(8, device="cuda").sum()) == 8
        detail = f"{torch.cuda.get_device_name()}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free, driver {driver}"
        return Check("CUDA device", worked, detail)
    if driver is None:
        return Check("CUDA device", False, "no NVIDIA driver: the CPU is used", "nothing to do without an NVIDIA GPU")
    if torch.version.cuda is None:
        return Check("CUDA device", False, f"driver {driver}, but torch is a CPU build", "pip install torch with CUDA")
    fix = f"install a driver for CUDA {torch.version.cuda}, or a torch built for an older CUDA"
    return Check("CUDA device", False, f"driver {driver} does not serve CUDA {torch.version.cuda}", fix)


def _native() -> Check:
    fix = "pip install . again where a C++ compiler (c++) is on the path"
    try:
        from gs_reg._ops import native_info

        info = native_info()
    except Exception as error:
        return Check("native library", False, f"{type(error).__name__}: {error}", fix, required=True)
    return Check("native library", True, ", ".join(f"{key} {value}" for key, value in info.items()), required=True)


def _native_cuda() -> Check:
    import torch

    from gs_reg._library import cuda_library
    from gs_reg._proof import doubt_here

    try:
        path = cuda_library()._name
    except (RuntimeError, OSError) as error:
        return Check("CUDA kernels", False, str(error), "not needed: `--backend auto` draws with gsplat on a GPU")
    if not torch.cuda.is_available():
        return Check("CUDA kernels", True, f"{path}; no GPU to use them on")
    if why := doubt_here():
        return Check("CUDA kernels", True, f"{path}; {why}; until then `--backend auto` draws with gsplat")
    return Check("CUDA kernels", True, f"{path}; proven on this card: what `--backend auto` draws with")


def _gsplat_kernels() -> Check:
    import torch

    if not torch.cuda.is_available():
        return Check("GPU rasteriser", False, "not needed: there is no GPU to use", "")
    from gs_reg.render.gsplat import missing

    why = missing()
    if why is None:
        from gs_reg._proof import doubt_here

        doubt = doubt_here()
        role = f"what `--backend auto` draws with: {doubt}" if doubt else "our own kernels, proven here, come first"
        return Check("GPU rasteriser", True, f"gsplat {_version('gsplat')}; {role}")
    return Check("GPU rasteriser", False, why[0], why[1])


def _cxx() -> Check:
    name = os.environ.get("CXX") or next((n for n in ("c++", "g++", "clang++") if shutil.which(n)), None)
    line = _first_line([name, "--version"]) if name else None
    fix = "" if line else "only for building from source: apt-get install g++"
    return Check("C++ compiler", line is not None, line or "none found", fix)


def _nvcc() -> Check:
    line = _first_line(["nvcc", "--version"], last="release")
    return Check("CUDA compiler", line is not None, line or "nvcc not found", "" if line else "only for GPU kernels")


def _processor() -> Check:
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    flags = next((line.split(":", 1)[1].split() for line in info.splitlines() if line.startswith("flags")), [])
    model = next((line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")), "")
    sets = [name for name in ("sse4_2", "avx2", "fma", "avx512f") if name in flags]
    name = model or platform.processor() or platform.machine()
    return Check("processor", True, f"{name}, {os.cpu_count()} cores, {' '.join(sets) or platform.machine()}")


def _memory() -> Check:
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    sizes = {line.split(":")[0]: int(line.split()[1]) / 2**20 for line in lines}
    if not sizes:
        return Check("memory", True, "not known on this system")
    free, total = sizes["MemAvailable"], sizes["MemTotal"]
    ok = free > 2
    return Check(
        "memory", ok, f"{free:.1f} of {total:.1f} GiB free", "" if ok else "close programs, or use --downscale"
    )


def _disk() -> Check:
    usage = shutil.disk_usage(".")
    ok = usage.free > 2 * 2**30
    detail = f"{usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GiB free in {Path.cwd()}"
    return Check("disk", ok, detail, "" if ok else "free some space, or write elsewhere with --out")


def _opencv() -> Check:
    names = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
    found = [f"{name} {version}" for name in names if (version := _version(name))]
    if len(found) == 1:
        return Check("OpenCV", True, found[0], required=True)
    if not found:
        return Check("OpenCV", False, "not installed", "pip install opencv-python-headless", required=True)
    spare = " ".join(entry.split()[0] for entry in found)
    fix = f"they write one folder: pip uninstall -y {spare}; pip install opencv-python-headless"
    return Check("OpenCV", False, f"{len(found)} at once: {', '.join(found)}", fix)


OPTIONAL = (
    ("gsplat", "gsplat", "draws on NVIDIA GPUs", "pip install 'gs-reg[gsplat]'"),
    ("diffusers", "diffusers", "part editing", "pip install diffusers"),
    ("transformers", "transformers", "depth networks, part editing", "pip install 'gs-reg[networks]'"),
    ("torchvision", "torchvision", "RAFT optical flow", "pip install 'gs-reg[networks]'"),
    ("OpenEXR", "OpenEXR", "depth maps in .exr", "pip install 'gs-reg[exr]'"),
    ("open3d", "open3d", "meshes", "pip install 'gs-reg[mesh]'"),
    ("nerfstudio", "nerfstudio", "its plugin", "pip install nerfstudio==1.1.5 in an environment of its own"),
    ("pytorch3d", "easypytorch3d", "faster neighbours", "pip install easypytorch3d"),
    ("viser", "viser", "viewer, HTML pages", "pip install viser"),
    ("zstandard", "zstandard", "SPZ version 4", "pip install zstandard"),
)
REQUIRED = (_python, _torch, _native, _opencv)


def _part(module: str, package: str, purpose: str, fix: str) -> Check:
    """An optional library: present or not, without importing it, as some take seconds."""
    if importlib.util.find_spec(module) is None:
        return Check(module, False, f"not installed ({purpose})", fix)
    return Check(module, True, _version(package) or _version(module) or "present")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _first_line(command: list[str], last: str = "") -> str | None:
    """First line (with `last` in it) of what a program prints; None where it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next((line.strip() for line in done.stdout.splitlines() if line.strip() and last in line), None)
