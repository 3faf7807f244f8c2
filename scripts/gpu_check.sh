#!/usr/bin/env bash
# One call on a machine with a GPU, nvcc and torch, no network needed: builds our CUDA kernels, runs their tests and
# NVIDIA's checkers, compares with gsplat in the same run, records golden data. One table, and JSON beside it:
# gpu_check.sh [FILE [SECONDS]]. Without a GPU it checks what a host can, and says what it left out. Under 10 minutes.
#   PYTHON               the interpreter with torch; gs-reg need not be installed in it
#   GS_REG_GSPLAT_WHEEL  a gsplat wheel with its kernels in it (scripts/gsplat_wheel.sh)
#   GS_REG_DATA          the folder with gsplat_garden/test_garden.npz and llff_fern/poses_bounds.npy, which scenes need
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD PYTHON=${PYTHON:-.venv/bin/python}
REPORT=$(realpath -m "${1:-build/gpu_check.json}")
PYTHON=$(command -v "$PYTHON")
[[ $PYTHON == /* ]] || PYTHON=$root/$PYTHON
if [[ -z ${GS_REG_DATA:-} ]]; then
  for data in shared/data ../shared/data; do [[ -d $data ]] && GS_REG_DATA=$(realpath "$data") && export GS_REG_DATA && break; done
fi

if ! "$PYTHON" -c 'import gs_reg.apps' 2>/dev/null; then
  # laid out as an installation would be, with libraries of its own
  tree=$root/build/gpu_check
  mkdir -p "$tree/gs_reg"
  for path in gs_reg/*.py gs_reg/*/ apps data_tools; do
    [[ $path == *__pycache__* ]] || ln -sfn "$root/${path%/}" "$tree/gs_reg/"
  done
  rm -f "$tree/pyproject.toml"
  ln -sfn "$root"/{tests,cuda,Makefile,setup.py} "$tree/"
  cd "$tree"
  for library in "$root"/gs_reg/*.so; do [[ -e $library ]] && ln -sfn "$library" gs_reg/; done # built elsewhere
  [[ -e gs_reg/libgsr_cpu_base.so ]] ||
    "$PYTHON" setup.py --quiet build_ext --build-lib . >/dev/null # pyproject.toml would ask for a younger setuptools
  ln -sfn "$root/pyproject.toml" .
fi
exec "$PYTHON" -m tests.gpu.check "$REPORT" "${@:2}"
