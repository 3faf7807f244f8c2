#!/usr/bin/env bash
# One call on a machine with a GPU, nvcc and torch, no network needed: builds our CUDA kernels, runs their tests and
# NVIDIA's checkers, compares with gsplat in the same run, records golden data. One table, and JSON beside it:
# gpu_check.sh [FILE]. Without a GPU it checks what a host can, and says what it left out. Under 10 minutes.
# PYTHON names the interpreter; GS_REG_GSPLAT_WHEEL a gsplat wheel with its kernels in it (scripts/gsplat_wheel.sh).
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-.venv/bin/python}" -m tests.gpu.check "${1:-build/gpu_check.json}"
