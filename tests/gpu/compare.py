"""Our kernels beside gsplat's, in one run on the GPU at hand: the protocol's scenes, ratios, gates, one table."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gs_reg import _ops
from gs_reg.apps.bench.scenes import BenchScene, expanded, make
from gs_reg.errors import InputError
from gs_reg.render import gsplat as gsplat_backend
from gs_reg.ssim import masked_mean, ssim_map

from .gates import gates
from .kernel_times import kernel_times
from .scenes import (
    Draw,
    Inputs,
    by_gsplat,
    depths_of,
    native,
    native_with_counts,
    native_with_state,
)

WARM_UP, TIMED = 20, 100
SCENES = ("A", "C", "B", "F", "channels", "tiny")
RATE, BETAS = 1e-6, (0.9, 0.999)


def bench(limit: float) -> dict[str, Any]:
    """Rows and gates; scenes that no time is left for, or whose data is not here, are named."""
    why = gsplat_backend.missing()
    theirs = {} if why else {"gsplat": by_gsplat(False), "gsplat packed": by_gsplat(True)}
    until, rows, left_out = time.monotonic() + limit, [], {}
    for name in expanded(SCENES):
        if time.monotonic() > until:
            left_out[name] = "no time left"
            continue
        try:
            rows += bench_scene(make(name), {"native": native} | theirs)
        except (InputError, RuntimeError) as error:  # a scene that fails must not take the others' figures along
            left_out[name] = f"{type(error).__name__}: {error}"
    return {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "gsplat": None if why else _version("gsplat"),
        "gsplat_missing": why and why[0],
        "semantics": "gsplat 1.5.3",
        "commit": said("git", "rev-parse", "HEAD"),
        "clocks": said("nvidia-smi", "--query-gpu=driver_version,clocks.sm,clocks.mem", "--format=csv"),
        "rows": rows,
        "left_out": left_out,
        "gates": gates(rows, left_out),
    }


def said(*words: str) -> str | None:
    """What a program prints; None where it is missing or fails."""
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def bench_scene(scene: BenchScene, draws: dict[str, Draw]) -> list[dict[str, Any]]:
    inputs = Inputs.of(scene, "cuda")
    expected = Correct.of(scene)
    with torch.no_grad():
        _, _, counts = native_with_counts(inputs)
    times = {name: {"forward": [], "backward": [], "wall": []} for name in draws}
    for turn in range(WARM_UP + TIMED):  # taking turns, so that clocks and heat are the same for all
        for name, draw in draws.items():
            measured = timed_pass(draw, inputs)
            if turn >= WARM_UP:
                for key, value in measured.items():
                    times[name][key].append(value)
    rows = []
    for name, draw in draws.items():
        ours = name == "native"
        row = {"scene": scene.name, "digest": scene.digest, "backend": name, "channels": scene.features.shape[1]}
        row |= {"gaussians": len(scene.means), "visible": int(counts[0]), "intersections": int(counts[1])}
        row |= {key: statistics.median(values) for key, values in times[name].items()}
        row["best"] = min(f + b for f, b in zip(times[name]["forward"], times[name]["backward"], strict=True))
        row |= errors(draw, inputs, expected) | {"peak_mib": peak(draw, inputs), "step": full_step(name, draw, inputs)}
        row["captured"] = captured_pass(inputs, counts) if ours else None
        row["graph"], row["graph_kernels"] = graph_step(inputs, counts) if ours else (None, {})
        row["kernels"] = kernel_times(partial(one_pass, draw, inputs))
        row["busy"] = sum(row["kernels"].values()) / 1e3
        rows.append(row)
    return rows


def one_pass(draw: Draw, inputs: Inputs) -> None:
    inputs.gradients(draw(inputs))


def timed_pass(draw: Draw, inputs: Inputs) -> dict[str, float]:
    """Milliseconds by events, and of the whole by the clock on the wall."""
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(3)]
    torch.cuda.synchronize()
    start = time.perf_counter()
    marks[0].record()
    image = draw(inputs)
    marks[1].record()
    inputs.gradients(image)
    marks[2].record()
    torch.cuda.synchronize()
    wall = 1e3 * (time.perf_counter() - start)
    forward, backward = (a.elapsed_time(b) for a, b in itertools.pairwise(marks))
    return {"forward": forward, "backward": backward, "wall": wall}


@dataclass(frozen=True)
class Correct:
    """The image in double precision with its graph, by the CPU kernels that the reference has judged: in the order of
    depths rounded to single precision, as the order of equal ones is not the kernels' affair."""

    inputs: Inputs
    image: Tensor

    @classmethod
    def of(cls, scene: BenchScene) -> Correct:
        inputs = Inputs.of(scene, "cpu", torch.float64)
        order = depths_of(Inputs.of(scene, "cpu")).double()
        return cls(inputs, native_with_state(inputs, order=order)[0])


def errors(draw: Draw, inputs: Inputs, expected: Correct) -> dict[str, float]:
    """Of image and gradients, but for the worst pixel in 10^4: there a splat is just above or below a threshold in one
    and not in the other. Gradients that are next to nothing are measured by all others."""
    image = draw(inputs)
    wrong = (image.detach().cpu().double() - expected.image.detach()).abs().amax(-1)
    kept = wrong.flatten().kthvalue(max(int(wrong.numel() * (1 - 1e-4)), 1)).values
    left_out = wrong > kept
    found, right = inputs.gradients(image, left_out), expected.inputs.gradients(expected.image, left_out)
    least = 1e-6 * sum(float(v.norm()) for v in right.values())
    apart = [float((found[k].cpu().double() - v).norm() / max(float(v.norm()), least)) for k, v in right.items()]
    return {"image_error": float(kept), "gradient_error": max(apart)}


def peak(draw: Draw, inputs: Inputs) -> float:
    """The allocator's peak beyond the inputs, in MiB."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    one_pass(draw, inputs)
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def full_step(name: str, draw: Draw, inputs: Inputs) -> float | None:
    """Milliseconds of drawing, L1 + SSIM, backward and Adam, where the image is one: ours all fused, theirs with
    torch's SSIM and fused Adam."""
    if inputs.upstream.shape[-1] != 3:
        return None
    photo = torch.rand_like(inputs.upstream)
    own = inputs.copied()
    return timed_steps(NativeStep(own, photo) if name == "native" else _torch_step(draw, own, photo))


def graph_step(inputs: Inputs, counts: Tensor) -> tuple[float | None, dict[str, float]]:
    """Milliseconds of our step as a CUDA graph, with memory for a fifth more than the scene has; and of its kernels."""
    if inputs.upstream.shape[-1] != 3:
        return None, {}
    replay = captured(inputs.copied(), torch.rand_like(inputs.upstream), slack(counts))
    return timed_steps(lambda _number: replay()), kernel_times(replay)


def captured_pass(inputs: Inputs, counts: Tensor) -> float:
    """Milliseconds of our forward and backward as a CUDA graph, with memory for a fifth more than the scene has."""
    most = slack(counts)
    replay = graph_of(lambda: inputs.gradients(native_with_state(inputs, most)[0]))
    return timed_steps(lambda _number: replay())


def slack(counts: Tensor) -> tuple[int, int]:
    return int(1.2 * counts[0]), int(1.2 * counts[1])


def graph_of(work: Callable[[], object], warm_up: Callable[[], object] | None = None) -> Callable[[], None]:
    """Runs it, or what is to be run in its place, a few times, and captures it in a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # what libraries do at their first call cannot be captured
        for _ in range(3):
            (warm_up or work)()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def timed_steps(step: Callable[[int], None]) -> float:
    times = []
    for turn in range(WARM_UP // 2 + TIMED // 4):
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        marks[0].record()
        step(turn + 1)
        marks[1].record()
        torch.cuda.synchronize()
        if turn >= WARM_UP // 2:
            times.append(marks[0].elapsed_time(marks[1]))
    return statistics.median(times)


class NativeStep:
    """Training by our operators alone; `now` holds the rate and corrections of Adam where they are on the device."""

    def __init__(self, inputs: Inputs, photo: Tensor, most: tuple[int, int] = (0, 0), now: Tensor | None = None):
        self.inputs, self.photo, self.most, self.now = inputs, photo, most, now
        self.shares = [torch.full((), share, device=photo.device) for share in (0.8, 0.2)]
        self.moments = {name: (torch.zeros_like(v), torch.zeros_like(v)) for name, v in inputs.leaf.items()}

    def __call__(self, number: int | None) -> None:
        image, radii, state = native_with_state(self.inputs, self.most)
        l1, dssim, _, _ = _ops.photometric(image, self.photo, None, True)
        leaves = self.inputs.leaf
        gradients = torch.autograd.grad([l1, dssim], list(leaves.values()), self.shares)
        options = {"lr": RATE, "betas": BETAS, "eps": 1e-15, "step": number, "now": self.now, "most": self.most}
        options["counts"] = _ops.true_counts(state) if any(self.most) else None
        seen = (radii[0] > 0).all(-1)
        for (name, value), gradient in zip(leaves.items(), gradients, strict=True):
            _ops.adam(value.detach(), gradient, *self.moments[name], visible=seen, **options)


def captured(inputs: Inputs, photo: Tensor, most: tuple[int, int]) -> Callable[[], None]:
    """The same as a CUDA graph, which reads rates and corrections from the device; each call is one more step."""
    now = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64, device="cuda")
    betas = torch.tensor(BETAS, dtype=torch.float64, device="cuda")
    powers, step = torch.ones_like(betas), NativeStep(inputs, photo, most, now)

    def learn() -> None:
        powers.mul_(betas)
        now[1:].copy_(1 - powers)
        step(None)

    def settle() -> None:
        now[0] = 0.0  # learns nothing
        step(None)

    replay = graph_of(learn, settle)
    now[0] = RATE
    for moment in itertools.chain(*step.moments.values()):
        moment.zero_()
    return replay


def _torch_step(draw: Draw, inputs: Inputs, photo: Tensor):
    leaves = list(inputs.leaf.values())
    optimizer = torch.optim.Adam(leaves, lr=RATE, betas=BETAS, eps=1e-15, fused=True)

    def step(_number: int) -> None:
        image = draw(inputs)
        loss = 0.8 * (image - photo).abs().mean() + 0.2 * masked_mean(1 - ssim_map(image, photo), None)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step
