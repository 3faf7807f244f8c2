"""Finds and opens the native libraries (plain C, ctypes), and mirrors the structs of cuda/include/gsr/gsr.h."""

from __future__ import annotations

import ctypes
import os
from ctypes import c_char_p, c_double, c_int32, c_int64, c_uint32, c_void_p
from functools import cache
from pathlib import Path

ABI = 2
ISAS = ("avx512", "avx2", "base")
CUDA_LIBRARY = Path(__file__).parent / "libgsr_cuda.so"
ALLOC = ctypes.CFUNCTYPE(c_void_p, c_void_p, c_int32, c_int64)


def _fields(text: str) -> list[tuple[str, type]]:
    """ctypes fields from lines of `type name name ...`."""
    types = {"u32": c_uint32, "i32": c_int32, "i64": c_int64, "f64": c_double, "ptr": c_void_p}
    lines = [line.split() for line in text.strip().splitlines()]
    return [(name, types[kind]) for kind, *names in lines for name in names]


class _Struct(ctypes.Structure):
    def __init__(self, **values):
        super().__init__(struct_size=ctypes.sizeof(type(self)), **values)


class Projection(_Struct):
    _fields_ = _fields("""
        u32 struct_size
        i32 is_double threads antialiased orthographic width height
        i64 C N
        f64 near_plane far_plane radius_clip eps2d alpha_min
        ptr means quats scales opacities warps viewmats Ks
        ptr means2d depths conics opacities2d shapes radii nonfinite
        ptr v_means2d v_depths v_conics v_opacities2d
        ptr v_means v_quats v_scales v_opacities v_warps v_viewmats
    """)


STATE_SLOTS = 8


class Rasterization(_Struct):
    _fields_ = [
        *_fields("""
            u32 struct_size
            i32 is_double threads absgrad width height channels
            i64 C N
            f64 alpha_min alpha_max transmittance_min
            ptr means2d shapes depths features radii backgrounds image alphas
        """),
        ("alloc", ALLOC),
        ("context", c_void_p),
        ("state", c_void_p * STATE_SLOTS),
        *_fields("""
            i64 visible intersections
            ptr v_image v_alphas
            ptr v_means2d v_conics v_opacities v_features v_absolute
        """),
    ]


def _open(path: Path) -> ctypes.CDLL:
    lib = ctypes.CDLL(str(path))
    lib.gsr_abi.restype = c_int32
    if lib.gsr_abi() != ABI:
        raise RuntimeError(f"{path.name}: interface {lib.gsr_abi()}, expected {ABI}; build again with `pip install .`")
    lib.gsr_error.restype = c_char_p
    lib.gsr_best_isa.restype = c_char_p
    for name, struct in {
        "gsr_project": Projection,
        "gsr_project_vjp": Projection,
        "gsr_rasterize": Rasterization,
        "gsr_rasterize_vjp": Rasterization,
    }.items():
        getattr(lib, name).argtypes = [ctypes.POINTER(struct)]
    if has_sessions(lib):
        lib.gsr_cuda_begin.argtypes = [c_void_p, c_int32, ALLOC, c_void_p]
    return lib


@cache
def has_sessions(lib: ctypes.CDLL) -> bool:
    """Whether the library takes a stream and an allocator from its caller, as the CUDA one does."""
    return hasattr(lib, "gsr_cuda_begin")


@cache
def cpu_library() -> ctypes.CDLL:
    """The CPU library for this processor's instruction set, or the one that GS_REG_ISA names.

    Raises:
        RuntimeError: it was not built, with the command that builds it.
    """
    folder = Path(__file__).parent
    base = folder / "libgsr_cpu_base.so"
    if not base.exists():
        raise RuntimeError(
            f"native library not built ({base.name} is missing in gs_reg): run `pip install .`; it needs a C++ compiler"
        )
    isa = os.environ.get("GS_REG_ISA") or _open(base).gsr_best_isa().decode()
    if isa not in ISAS:
        raise RuntimeError(f"GS_REG_ISA={isa}: expected one of {', '.join(ISAS)}")
    path = folder / f"libgsr_cpu_{isa}.so"
    if not path.exists():
        raise RuntimeError(f"native library for {isa} was not built for this processor family: unset GS_REG_ISA")
    return _open(path)


@cache
def cuda_library() -> ctypes.CDLL:
    """The library of our CUDA kernels.

    Raises:
        RuntimeError: it was not built, with the command that builds it.
    """
    if not CUDA_LIBRARY.exists():
        raise RuntimeError(
            f"CUDA kernels not built ({CUDA_LIBRARY.name} is missing in gs_reg): "
            "run `GS_REG_CUDA=1 pip install .`; it needs nvcc, and no GPU"
        )
    return _open(CUDA_LIBRARY)


def library(device: str) -> ctypes.CDLL:
    """The library for a type of device, "cuda" or "cpu"."""
    return cuda_library() if device == "cuda" else cpu_library()


BAD_NUMBER = 3
"""The code of gsr/dispatch.h for a number out of its bounds."""


def checked(lib: ctypes.CDLL, function: str, args: _Struct) -> None:
    """Calls a native function.

    Raises:
        ValueError: a number that it cannot take, by name; nothing was read or written.
        RuntimeError: it failed; with the library's error text.
    """
    code = getattr(lib, function)(ctypes.byref(args))
    if code != 0:
        kind = ValueError if code == BAD_NUMBER else RuntimeError
        raise kind(f"{function}: {lib.gsr_error().decode()}")


def native_info() -> dict[str, str]:
    """Path and instruction set of the CPU library in use."""
    path = Path(cpu_library()._name)
    return {"library": path.name, "folder": str(path.parent), "isa": path.stem.removeprefix("libgsr_cpu_")}
