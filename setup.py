"""Builds the native CPU library, one file an instruction set, with the system's C++ compiler; no torch needed."""

import copy
import os
import platform
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCES = sorted(str(p) for p in Path("cuda/cpu").glob("*.cpp"))
HEADERS = sorted(str(p) for p in Path("cuda").rglob("*.h"))
FLAGS = [
    "-std=c++17",
    "-O3",
    "-g0",
    "-fvisibility=hidden",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Wno-psabi",
    "-Wno-maybe-uninitialized",
]
ISAS = {
    "x86_64": {
        "base": [],
        "avx2": ["-mavx2", "-mfma", "-mbmi", "-mbmi2"],
        "avx512": [
            "-mavx512f",
            "-mavx512bw",
            "-mavx512dq",
            "-mavx512vl",
            "-mfma",
            "-mbmi",
            "-mbmi2",
            "-mprefer-vector-width=512",
        ],
    },
}.get(platform.machine(), {"base": []})


class BuildNative(build_ext):
    """Plain shared libraries, opened with ctypes: no Python ABI in their names, none in their symbols."""

    def get_ext_filename(self, fullname: str) -> str:
        return str(Path(*fullname.split("."))) + ".so"

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return []

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extension(self, ext: Extension) -> None:
        # the libraries share their sources and are built at the same time: each needs object files of its own, or they
        # end up with one another's instruction sets
        own = copy.copy(self)
        own.build_temp = str(Path(self.build_temp) / ext.name)
        super(BuildNative, own).build_extension(ext)


setup(
    packages=[
        f"{prefix}{p.parent.as_posix().replace('/', '.')}"
        for prefix, root in (("", "gs_reg"), ("gs_reg.", "apps"), ("gs_reg.", "data_tools"))
        for p in sorted(Path(root).rglob("__init__.py"))
    ],
    package_dir={"gs_reg": "gs_reg", "gs_reg.apps": "apps", "gs_reg.data_tools": "data_tools"},
    package_data={"gs_reg.apps": ["templates/*"]},
    ext_modules=[
        Extension(
            f"gs_reg.libgsr_cpu_{isa}",
            SOURCES,
            depends=HEADERS,
            include_dirs=["cuda/include"],
            language="c++",
            extra_compile_args=[*FLAGS, *flags],
            extra_link_args=["-pthread"],
        )
        for isa, flags in ISAS.items()
    ],
    cmdclass={"build_ext": BuildNative},
)
