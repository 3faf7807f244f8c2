"""Where a piece of work spends its time on the GPU: microseconds of each kernel, as the driver counts them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

RUNS = 10


def kernel_times(work: Callable[[], object]) -> dict[str, float]:
    """Microseconds of each kernel in a piece of work, the longest first: the mean over some runs of it."""
    work()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        for _ in range(RUNS):
            work()
        torch.cuda.synchronize()
    times: dict[str, float] = defaultdict(float)
    for event in recorded.events():
        times[short(event.name)] += event.device_time_total / RUNS
    return dict(sorted(((name, time) for name, time in times.items() if time > 0), key=lambda item: -item[1]))


def short(name: str) -> str:
    """A kernel's own name and its template arguments, without namespaces and parameters."""
    name = re.sub(r"\(anonymous namespace\)::|^void |<unnamed>::", "", name)
    return re.sub(r"\w+::", "", name.split("(")[0])[:80]
