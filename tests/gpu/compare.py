"""Forward and backward of native and gsplat on the GPU at hand, one table and JSON; run by scripts/gpu_check.sh."""

import json
import statistics
import sys
from pathlib import Path

import torch

from gs_reg.render import RenderConfig, gsplat, render

from ..render.scenes import leaves, random_scene, rebuilt

WARM_UP, TIMED = 20, 100
SCENES = {
    "100k 640x480": {"count": 100_000, "width": 640, "height": 480},
    "1M 1297x840": {"count": 1_000_000, "width": 1297, "height": 840},
}


def timed(backend: str, count: int, width: int, height: int) -> dict[str, float]:
    """Medians in milliseconds by CUDA events, and the allocator's peak beyond the inputs in MiB."""
    splats, cameras = random_scene(count, width, height, cameras=1)
    cameras = cameras.to("cuda", torch.float32)
    leaf = {k: v.to("cuda", torch.float32).detach() for k, v in leaves(splats, cameras).items()}
    leaf["log_scales"] = leaf["log_scales"] - 3
    leaf = {k: v.requires_grad_() for k, v in leaf.items()}
    upstream = torch.randn(1, height, width, 3, device="cuda")
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    forward, backward = [], []
    for turn in range(WARM_UP + TIMED):
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(3)]
        marks[0].record()
        colors = render(*rebuilt(leaf, cameras), RenderConfig(backend=backend)).colors  # type: ignore[arg-type]
        marks[1].record()
        torch.autograd.grad((colors * upstream).sum(), list(leaf.values()))
        marks[2].record()
        torch.cuda.synchronize()
        if turn >= WARM_UP:
            forward.append(marks[0].elapsed_time(marks[1]))
            backward.append(marks[1].elapsed_time(marks[2]))
    peak = (torch.cuda.max_memory_allocated() - before) / 2**20
    return {"forward": statistics.median(forward), "backward": statistics.median(backward), "peak": peak}


def main(report: str) -> None:
    backends = ["native"]
    if why := gsplat.missing():
        print(f"gsplat not compared: {why[0]}")
    else:
        backends.append("gsplat")
    rows = []
    print(
        f"{torch.cuda.get_device_name()}\n{'scene':14} {'backend':8} {'forward':>8} {'backward':>8} ms {'peak':>7} MiB"
    )
    for scene, size in SCENES.items():
        for backend in backends:
            row = {"scene": scene, "backend": backend, **timed(backend, **size)}
            rows.append(row)
            print(f"{scene:14} {backend:8} {row['forward']:8.3f} {row['backward']:8.3f}    {row['peak']:7.0f}")
    Path(report).write_text(json.dumps({"ran": True, "gpu": torch.cuda.get_device_name(), "rows": rows}, indent=2))


if __name__ == "__main__":
    main(sys.argv[1])
