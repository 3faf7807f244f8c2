"""Checks of what renders: torch, the GPU, our native libraries and gsplat."""

from __future__ import annotations

from pathlib import Path

from ..runs.progress import plural
from .check import Check, first_line, version_of


def check_torch() -> Check:
    try:
        import torch
    except Exception as error:
        return Check("torch", False, f"{type(error).__name__}: {error}", "pip install torch", required=True)
    build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU"
    return Check(
        "torch", True, f"{torch.__version__}, {build}, {plural(torch.get_num_threads(), 'thread')}", required=True
    )


def driver_version() -> str | None:
    """Version of the NVIDIA driver, from the kernel or nvidia-smi; None where there is none."""
    proc = Path("/proc/driver/nvidia/version")
    if proc.exists():
        words = proc.read_text().split()
        return next(
            (word for word in words if word.count(".") in (1, 2) and word.replace(".", "").isdigit()), "unknown"
        )
    return first_line(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])


def check_cuda() -> Check:
    import torch

    driver = driver_version()
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        # is_available() is also true where this build of torch has no kernels for this GPU.
        worked = float(torch.ones(8, device="cuda").sum()) == 8
        detail = f"{torch.cuda.get_device_name()}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free, driver {driver}"
        return Check("CUDA device", worked, detail)
    if driver is None:
        return Check("CUDA device", True, "no NVIDIA driver: the CPU is used", machine=True, absent=True)
    if torch.version.cuda is None:
        return Check("CUDA device", False, f"driver {driver}, but torch is a CPU build", "pip install torch with CUDA")
    fix = f"install a driver for CUDA {torch.version.cuda}, or a torch built for an older CUDA"
    return Check("CUDA device", False, f"driver {driver} does not serve CUDA {torch.version.cuda}", fix)


def check_native() -> Check:
    fix = "pip install . again where a C++ compiler (c++) is on the path"
    try:
        from gs_reg._ops import native_info

        info = native_info()
    except Exception as error:
        return Check("native library", False, f"{type(error).__name__}: {error}", fix, required=True)
    return Check("native library", True, ", ".join(f"{key} {value}" for key, value in info.items()), required=True)


def check_native_cuda() -> Check:
    import torch

    from gs_reg._library import cuda_library
    from gs_reg._proof import doubt_here

    try:
        path = cuda_library()._name
    except OSError as error:
        return Check("CUDA kernels", False, str(error), "build them again: `GS_REG_CUDA=1 pip install .`")
    except RuntimeError as error:
        unused = "there is no GPU to use them on" if driver_version() is None else "`--backend auto` draws with gsplat"
        return Check("CUDA kernels", True, f"{error} ({unused})", machine=driver_version() is None, absent=True)
    if not torch.cuda.is_available():
        return Check("CUDA kernels", True, f"{path}; no GPU to use them on")
    if reason := doubt_here():
        return Check("CUDA kernels", True, f"{path}; {reason}; until then `--backend auto` draws with gsplat")
    return Check("CUDA kernels", True, f"{path}; proven on this card: what `--backend auto` draws with")


def check_gsplat_kernels() -> Check:
    import torch

    if not torch.cuda.is_available():
        return Check("GPU rasteriser", True, "not needed: there is no GPU to use", machine=True, absent=True)
    from gs_reg.render.gsplat import missing

    problem = missing()
    if problem is None:
        from gs_reg._proof import doubt_here

        reason = doubt_here()
        role = f"what `--backend auto` draws with: {reason}" if reason else "our own kernels, proven here, come first"
        return Check("GPU rasteriser", True, f"gsplat {version_of('gsplat')}; {role}")
    what, fix = problem
    return Check("GPU rasteriser", False, what, fix)
