"""Builds the native CPU library, one file an instruction set, with the system's C++ compiler; no torch needed.

With GS_REG_CUDA=1 also the library of our CUDA kernels, with nvcc, for the architectures in GS_REG_CUDA_ARCHS.
"""

import copy
import os
import platform
import shutil
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
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
    *("-include", "cuda/cpu/old_glibc.h"),
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


CUDA_ARCHS = os.environ.get("GS_REG_CUDA_ARCHS", "80 90 120").split()


def nvcc() -> str:
    home = os.environ.get("CUDA_HOME")
    found = shutil.which("nvcc", path=str(Path(home, "bin")) if home else None) or shutil.which("nvcc")
    if found is None:
        raise SystemExit("GS_REG_CUDA=1: nvcc not found; set CUDA_HOME, or unset it to build for the CPU alone")
    return found


def in_tree(ext: Extension) -> Path:
    return Path(*ext.name.split(".")).with_suffix(".so")


def up_to_date(ext: Extension) -> bool:
    """Whether the library in the tree is newer than everything that it is made of."""
    made_of = [*ext.sources, *ext.depends, "setup.py"]
    return in_tree(ext).is_file() and in_tree(ext).stat().st_mtime > max(Path(p).stat().st_mtime for p in made_of)


class BuildNative(build_ext):
    """Plain shared libraries, opened with ctypes: no Python ABI in their names, none in their symbols."""

    def get_ext_filename(self, fullname: str) -> str:
        return str(Path(*fullname.split("."))) + ".so"

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return []

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def copy_extensions_to_source(self) -> None:
        """Only what is new: another environment of the same tree may be opening the rest."""
        every = self.extensions
        self.extensions = [ext for ext in every if not up_to_date(ext)]
        super().copy_extensions_to_source()
        self.extensions = every

    def build_extension(self, ext: Extension) -> None:
        if ext.name == "gs_reg.libgsr_cuda":
            return self.build_cuda(ext)
        if self.editable_mode and up_to_date(ext):
            # for a second environment of the same tree, such as that of `make test-nerfstudio`
            print(f"{in_tree(ext)} is up to date")
            target = Path(self.get_ext_fullpath(ext.name))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(in_tree(ext), target)
            return
        # the libraries share their sources and are built at the same time: each needs object files of its own, or they
        # end up with one another's instruction sets
        own = copy.copy(self)
        own.build_temp = str(Path(self.build_temp) / ext.name)
        super(BuildNative, own).build_extension(ext)

    def build_cuda(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        flags = Path("cuda/gpu/nvcc.flags").read_text().split()
        targets = [flag for a in CUDA_ARCHS for flag in ("-gencode", f"arch=compute_{a},code=sm_{a}")]
        link = ["-shared", "-cudart", "static", "--threads", "0", "-o", str(target)]
        self.spawn([nvcc(), *flags, *targets, *link, *ext.sources])


class AnyPython(bdist_wheel):
    """One wheel for every Python 3 and every torch, as the libraries use neither; `make wheel` names its Linux."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    packages=[
        f"{prefix}{p.parent.as_posix().replace('/', '.')}"
        for prefix, root in (("", "gs_reg"), ("gs_reg.", "apps"), ("gs_reg.", "data_tools"))
        for p in sorted(Path(root).rglob("__init__.py"))
    ],
    package_dir={"gs_reg": "gs_reg", "gs_reg.apps": "apps", "gs_reg.data_tools": "data_tools"},
    package_data={
        "gs_reg": ["py.typed"],
        "gs_reg.apps.teacher": ["weights/**/*"],
        "gs_reg.apps.look.report": ["*.html", "*.css", "*.js"],
        "gs_reg.bake": ["web/*"],
        "gs_reg.io": ["web/*"],
    },
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
    ]
    + [
        Extension("gs_reg.libgsr_cuda", sorted(str(p) for p in Path("cuda/gpu").glob("*.cu")), depends=HEADERS)
        for _ in range(os.environ.get("GS_REG_CUDA") == "1")
    ],
    cmdclass={"build_ext": BuildNative, "bdist_wheel": AnyPython},
)
