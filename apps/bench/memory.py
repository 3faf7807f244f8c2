"""Peak memory of one forward and backward pass, in its own process: `python -m gs_reg.apps.bench.memory SCENE`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor

from gs_reg.types import Cameras

from .scenes import BenchScene, make
from .stages import Step, make_step


class PeakMemory(TypedDict):
    scene: str
    peak_bytes: int
    """Beyond inputs and outputs."""
    budget_bytes: int
    """What the specification allows: 64 for a visible Gaussian, 46 for an intersection, and two images."""


def peak_memory(scene: str) -> PeakMemory | None:
    """Measures a scene in a new process; None where there is no /proc."""
    if not Path("/proc/self/clear_refs").exists():
        return None
    command = [sys.executable, "-m", "gs_reg.apps.bench.memory", scene]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def reset_peak() -> int | None:
    """The bytes that this process holds, from where its peak is counted anew; None where there is no /proc."""
    clear = Path("/proc/self/clear_refs")
    if not clear.exists():
        return None
    clear.write_text("5")  # resets VmHWM
    return _process_status("VmRSS")


def peak_since(held: int | None) -> int | None:
    """Most bytes beyond those that reset_peak() found."""
    return None if held is None else _process_status("VmHWM") - held


def _measure(name: str) -> PeakMemory:
    scene = make(name)
    step, small = make_step(scene), make_step(_smallest(scene))
    _forward_backward(small, small.project())  # what library and torch allocate only once does not count
    projected = step.project()
    before = reset_peak()
    outputs, visible, intersections = _forward_backward(step, projected)
    peak = peak_since(before)
    assert peak is not None  # peak_memory() has looked
    image = step.v_image.nbytes + step.v_alphas.nbytes
    budget = 64 * visible + 46 * intersections + 2 * image
    return {"scene": name, "peak_bytes": peak - outputs, "budget_bytes": budget}


def _smallest(scene: BenchScene) -> BenchScene:
    """A few Gaussians on one tile, so that the memory that the library keeps for the next call stays small."""
    tensors = {key: getattr(scene, key)[:8] for key in ("means", "quats", "scales", "opacities", "features")}
    cameras = Cameras(scene.cameras.viewmats, scene.cameras.Ks, 16, 16)
    return replace(scene, **tensors, cameras=cameras)


def _forward_backward(step: Step, projected: tuple[Tensor, ...]) -> tuple[int, int, int]:
    """Bytes of the outputs, and the numbers of visible Gaussians and of intersections."""
    image, alphas, state = step.rasterize(projected)
    gradients = step.rasterize_vjp(projected, (image, alphas, state))
    visible, intersections = state[-1].tolist()
    return sum(t.nbytes for t in (image, alphas, *gradients)), visible, intersections


def _process_status(field: str) -> int:
    """Bytes of a field of /proc/self/status."""
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found, field
    return 1024 * int(found[1])


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(_measure(sys.argv[1])))
