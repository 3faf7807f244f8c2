#!/usr/bin/env bash
# One call on a machine with a GPU, nvcc and torch, no network needed: builds our CUDA kernels, runs the tests marked
# `gpu`, and compares times with gsplat in the same run. Prints a table, and writes JSON: gpu_check.sh [FILE].
# PYTHON names the interpreter; GS_REG_GSPLAT_WHEEL a gsplat wheel to install first, with its kernels in it.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
REPORT=${1:-build/gpu_check.json}
mkdir -p "$(dirname "$REPORT")"

if ! "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "no GPU: skipped; nothing was run on one"
  echo '{"ran": false, "why": "no GPU"}' >"$REPORT"
  exit 0
fi
arch=$("$PYTHON" -c 'import torch; print("%d%d" % torch.cuda.get_device_capability())')
# what setup.py does with GS_REG_CUDA=1, for this card alone
# shellcheck disable=SC2046
"${CUDA_HOME:+$CUDA_HOME/bin/}nvcc" $(cat cuda/gpu/nvcc.flags) -gencode "arch=compute_$arch,code=sm_$arch" --threads 0 \
  -shared -cudart static -o gs_reg/libgsr_cuda.so cuda/gpu/*.cu
if [[ -n ${GS_REG_GSPLAT_WHEEL:-} ]]; then
  "$PYTHON" -m pip install --quiet --no-deps --no-index "$GS_REG_GSPLAT_WHEEL"
fi
"$PYTHON" -m pytest tests/gpu -m gpu
"$PYTHON" -m tests.gpu.compare "$REPORT"
