"""The result of scripts/gpu_check.sh: whether our CUDA library passed its tests, as a file beside the library.

It is valid for one library file (by its SHA-256) on one GPU model. `auto` selects our CUDA kernels only with it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache

from gs_reg._library import CUDA_LIBRARY

RECORD = CUDA_LIBRARY.with_suffix(".proof.json")


@dataclass(frozen=True)
class Proof:
    library: str
    """SHA-256 of the library."""
    gpu: str
    failed: tuple[str, ...]
    """Names of the checks that failed; empty = `auto` selects our kernels."""


def record(gpu: str, failed: list[str]) -> None:
    """Writes the result of a check on a GPU; `failed` names the checks that failed."""
    RECORD.write_text(json.dumps(asdict(Proof(_digest(), gpu, tuple(failed))), indent=2) + "\n")
    doubt.cache_clear()


@cache
def doubt(gpu: str) -> str | None:
    """Why our CUDA kernels do not count as checked on a GPU of this name; None where they do."""
    if not CUDA_LIBRARY.exists():
        return "our CUDA kernels are not built"
    remedy = "run scripts/gpu_check.sh"
    if not RECORD.exists():
        return f"our CUDA kernels are not proven on this machine: {remedy}"
    found = json.loads(RECORD.read_text())
    if found["library"] != _digest():
        return f"our CUDA kernels were built again since they were checked: {remedy}"
    if found["gpu"] != gpu:
        return f"our CUDA kernels were checked on {found['gpu']}, and this is {gpu}: {remedy}"
    if found["failed"]:
        return f"our CUDA kernels did not pass the check: {', '.join(found['failed'])}"
    return None


def doubt_here() -> str | None:
    """`doubt` of the current CUDA device."""
    import torch

    return doubt(_name(torch.cuda.current_device()))


@cache
def _name(device: int) -> str:
    import torch

    return torch.cuda.get_device_name(device)


def _digest() -> str:
    return hashlib.sha256(CUDA_LIBRARY.read_bytes()).hexdigest()
