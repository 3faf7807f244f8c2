#!/usr/bin/env bash
# Builds a gsplat wheel with its kernels in it, for scripts/gpu_check.sh on a machine without a network: needs nvcc, a
# network and no GPU. Of gsplat's 19 channel counts it keeps those that the benchmark draws, which takes minutes off.
#   gsplat_wheel.sh FOLDER [ARCH ...]     ARCH such as 9.0 (default) or 8.0
# PYTHON names an interpreter of the version, and with the torch, of that machine. MAX_JOBS limits the compilers.
set -euo pipefail
PYTHON=$(realpath -s "${PYTHON:-.venv/bin/python}")
OUT=$(realpath -m "$1")
shift
export TORCH_CUDA_ARCH_LIST="${*:-9.0}"
VERSION=1.5.3 CHANNELS="1|3|4|8|32"
if [[ -z ${CUDA_HOME:-} ]]; then  # torch would guess it from where nvcc lies, which may be a mere link to it
  CUDA_HOME=$(realpath "$(nvcc --dryrun -x cu /dev/null 2>&1 | sed -n 's/^#\$ TOP=//p')")
  export CUDA_HOME
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$OUT"
"$PYTHON" -m pip download --quiet --no-deps --only-binary :all: --dest "$work" "gsplat==$VERSION"
cd "$work"
"$PYTHON" -m zipfile -e "gsplat-$VERSION"-*.whl tree
sed -i -E "/^ *(__INS__|__LAUNCH_KERNEL__)\([0-9]+\)/{/\(($CHANNELS)\)/!d}" tree/gsplat/cuda/csrc/*.cu tree/gsplat/cuda/csrc/*.cpp
"$PYTHON" - <<'PYTHON'
import glob
import os
import shutil

from torch.utils.cpp_extension import load

root = os.path.abspath("tree/gsplat/cuda")
os.makedirs("build")
load(
    "csrc",
    [*glob.glob(f"{root}/csrc/*.cu"), *glob.glob(f"{root}/csrc/*.cpp"), f"{root}/ext.cpp"],
    extra_cflags=["-O3", "-Wno-attributes"],
    extra_cuda_cflags=["-O3", "-use_fast_math"],  # as gsplat builds itself
    extra_include_paths=[f"{root}/include", f"{root}/csrc/third_party/glm"],
    build_directory="build",
    is_python_module=False,
)
shutil.copy("build/csrc.so", "tree/gsplat/csrc.so")
PYTHON
rm -r tree/gsplat/cuda/csrc # nothing is built any more, and the machine may take only so much
echo "gsplat/csrc.so,," >>"tree/gsplat-$VERSION.dist-info/RECORD"
wheel=$(basename "gsplat-$VERSION"-*.whl)
(cd tree && "$PYTHON" -c 'import shutil, sys; shutil.make_archive(sys.argv[1], "zip")' "$OUT/$wheel" && mv "$OUT/$wheel.zip" "$OUT/$wheel")
echo "$OUT/$wheel"
