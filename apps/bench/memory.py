"""Peak memory of one forward and backward pass, in a process of its own: `python -m gs_reg.apps.bench.memory SCENE`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from gs_reg.types import Cameras

from .scenes import BenchScene, make
from .stages import Step, make_step


def peak_memory(scene: str) -> dict | None:
    """Bytes beyond inputs and outputs, and the bytes that spec and counts allow; None where /proc cannot tell."""
    if not Path("/proc/self/clear_refs").exists():
        return None
    command = [sys.executable, "-m", "gs_reg.apps.bench.memory", scene]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _measure(name: str) -> dict:
    scene = make(name)
    step, small = make_step(scene), make_step(_smallest(scene))
    _pass(small, small.project())  # what the library and torch take once does not count
    projected = step.project()
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    outputs, visible, intersections = _pass(step, projected)
    image = step.v_image.nbytes + step.v_alphas.nbytes
    budget = 64 * visible + 46 * intersections + 2 * image
    return {"scene": name, "peak_bytes": _status("VmHWM") - before - outputs, "budget_bytes": budget}


def _smallest(scene: BenchScene) -> BenchScene:
    """A few Gaussians on one tile: whatever memory is kept for the next call stays small."""
    parts = {key: getattr(scene, key)[:8] for key in ("means", "quats", "scales", "opacities", "features")}
    cameras = Cameras(scene.cameras.viewmats, scene.cameras.Ks, 16, 16)
    return replace(scene, **parts, cameras=cameras)


def _pass(step: Step, projected: tuple[Tensor, ...]) -> tuple[int, int, int]:
    image, alphas, state = step.rasterize(projected)
    gradients = step.rasterize_vjp(projected, (image, alphas, state))
    visible, intersections = state[-1].tolist()
    return sum(t.nbytes for t in (image, alphas, *gradients)), visible, intersections


def _status(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found, field
    return 1024 * int(found[1])


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(_measure(sys.argv[1])))
