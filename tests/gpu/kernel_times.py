"""Where a pass spends its time on the GPU: microseconds of each kernel, as the driver's own tracing counts them."""

from __future__ import annotations

import re
from collections import defaultdict

import torch
from torch.profiler import ProfilerActivity, profile

from .scenes import Draw, Inputs

PASSES = 10


def kernel_times(draw: Draw, inputs: Inputs) -> dict[str, float]:
    """Microseconds of one forward and backward by kernel, the longest first: the mean over some passes."""
    inputs.gradients(draw(inputs))
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        for _ in range(PASSES):
            inputs.gradients(draw(inputs))
        torch.cuda.synchronize()
    times: dict[str, float] = defaultdict(float)
    for event in recorded.events():
        times[short(event.name)] += event.device_time_total / PASSES
    return dict(sorted(((name, time) for name, time in times.items() if time > 0), key=lambda item: -item[1]))


def short(name: str) -> str:
    """A kernel's own name and its template arguments, without namespaces and parameters."""
    name = re.sub(r"\(anonymous namespace\)::|^void |<unnamed>::", "", name)
    return re.sub(r"\w+::", "", name.split("(")[0])[:80]
