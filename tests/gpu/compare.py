"""Our kernels beside gsplat's, in one run on the GPU at hand: the protocol's scenes, ratios, gates, one table."""

from __future__ import annotations

import statistics
import time
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from gs_reg import _ops
from gs_reg._ops.adam import adam
from gs_reg.apps.bench_scenes import BenchScene, expanded, make
from gs_reg.errors import InputError
from gs_reg.render import gsplat as gsplat_backend
from gs_reg.ssim import masked_mean, ssim_map

from .scenes import Draw, Inputs, by_gsplat, native, native_with_counts

WARM_UP, TIMED = 20, 100
SCENES = ("A", "C", "B", "F", "channels", "tiny")
FLOORS = {"A": 0.065, "C": 0.30, "B": 0.30, "F": 0.135}
"""Milliseconds of forward, backward and sorting that an H100 SXM cannot go below (kernels.md, 4.4; computed)."""
IMAGE_ERROR, GRADIENT_ERROR = 1e-4, 1e-4
"""Against double precision: absolute (splats may be longer than 100 px), but for a value in 10^4; and relative L2."""


def bench(limit: float) -> dict[str, Any]:
    """Rows and gates; scenes that no time is left for, or whose data is not here, are named."""
    theirs = {} if gsplat_backend.missing() else {"gsplat": by_gsplat(False), "gsplat packed": by_gsplat(True)}
    until, rows, left_out = time.monotonic() + limit, [], {}
    for name in expanded(SCENES):
        if time.monotonic() > until:
            left_out[name] = "no time left"
            continue
        try:
            rows += bench_scene(make(name), {"native": native} | theirs)
        except InputError as error:
            left_out[name] = str(error)
    why = gsplat_backend.missing()
    return {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "gsplat": None if why else _version("gsplat"),
        "gsplat_missing": why and why[0],
        "semantics": "gsplat 1.5.3",
        "rows": rows,
        "left_out": left_out,
        "gates": gates(rows, left_out),
    }


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def bench_scene(scene: BenchScene, draws: dict[str, Draw]) -> list[dict[str, Any]]:
    inputs = Inputs.of(scene, "cuda")
    expected = correct(scene)
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
        row = {"scene": scene.name, "digest": scene.digest, "backend": name, "channels": scene.features.shape[1]}
        row |= {"gaussians": len(scene.means), "visible": int(counts[0]), "intersections": int(counts[1])}
        row |= {key: statistics.median(values) for key, values in times[name].items()}
        row["best"] = min(f + b for f, b in zip(times[name]["forward"], times[name]["backward"], strict=True))
        row |= errors(draw, inputs, expected) | {"peak_mib": peak(draw, inputs), "step": full_step(name, draw, inputs)}
        rows.append(row)
    return rows


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
    forward, backward = (a.elapsed_time(b) for a, b in pairwise(marks))
    return {"forward": forward, "backward": backward, "wall": wall}


def correct(scene: BenchScene) -> tuple[Tensor, dict[str, Tensor]]:
    """Image and gradients in double precision, by the CPU kernels that the reference has judged."""
    inputs = Inputs.of(scene, "cpu", torch.float64)
    image = native(inputs)
    return image.detach(), inputs.gradients(image)


def errors(draw: Draw, inputs: Inputs, expected: tuple[Tensor, dict[str, Tensor]]) -> dict[str, float]:
    image = draw(inputs)
    gradients = inputs.gradients(image)
    wrong = (image.detach().cpu().double() - expected[0]).abs().flatten()
    kept = max(int(wrong.numel() * (1 - 1e-4)), 1)
    apart = [float((gradients[k].cpu().double() - v).norm() / v.norm()) for k, v in expected[1].items()]
    return {"image_error": float(wrong.kthvalue(kept).values), "gradient_error": max(apart)}


def peak(draw: Draw, inputs: Inputs) -> float:
    """The allocator's peak beyond the inputs, in MiB."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    inputs.gradients(draw(inputs))
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def full_step(name: str, draw: Draw, inputs: Inputs) -> float | None:
    """Milliseconds of drawing, L1 + SSIM, backward and Adam, where the image is one: ours all fused, theirs with
    torch's SSIM and fused Adam."""
    if inputs.upstream.shape[-1] != 3:
        return None
    photo = torch.rand_like(inputs.upstream)
    leaves = {key: value.detach().clone().requires_grad_() for key, value in inputs.leaf.items()}
    own = Inputs(leaves, inputs.viewmats, inputs.Ks, inputs.width, inputs.height, inputs.upstream)
    step = _native_step(own, photo) if name == "native" else _torch_step(draw, own, photo)
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


def _native_step(inputs: Inputs, photo: Tensor):
    leaves = list(inputs.leaf.values())
    moments = [(torch.zeros_like(value), torch.zeros_like(value)) for value in leaves]

    def step(number: int) -> None:
        image, radii, _ = native_with_counts(inputs)
        l1, dssim, _, _ = _ops.photometric(image, photo, None, True)
        gradients = torch.autograd.grad(0.8 * l1 + 0.2 * dssim, leaves)
        seen = (radii[0] > 0).all(-1)
        with torch.no_grad():
            for value, gradient, (mean, square) in zip(leaves, gradients, moments, strict=True):
                adam(
                    value, gradient, mean, square, lr=1e-6, betas=(0.9, 0.999), eps=1e-15, step=number, visible=seen
                )  # fmt: skip

    return step


def _torch_step(draw: Draw, inputs: Inputs, photo: Tensor):
    leaves = list(inputs.leaf.values())
    optimizer = torch.optim.Adam(leaves, lr=1e-6, eps=1e-15, fused=True)

    def step(_number: int) -> None:
        image = draw(inputs)
        loss = 0.8 * (image - photo).abs().mean() + 0.2 * masked_mean(1 - ssim_map(image, photo), None)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def gates(rows: list[dict], left_out: dict[str, str]) -> list[dict]:
    """What must hold before our kernels come first (kernels.md, 4.4 and 6.2); `passed` is None where it was not
    measured."""
    native_rows = {row["scene"]: row for row in rows if row["backend"] == "native"}
    found = []

    def gate(name: str, passed: bool | None, detail: str) -> None:
        found.append({"gate": name, "passed": passed, "detail": detail})

    for scene, row in native_rows.items():
        gate(f"{scene}: image", row["image_error"] <= IMAGE_ERROR, f"{row['image_error']:.1e}")
        gate(f"{scene}: gradients", row["gradient_error"] <= GRADIENT_ERROR, f"{row['gradient_error']:.1e}")
    needed = dict.fromkeys(FLOORS, 3.0) | {"A/D=64": 4.0}
    for scene, least in needed.items():
        ratio = ratio_to_gsplat(scene, rows)
        detail = f"{ratio:.2f}" if ratio else left_out.get(scene, "no gsplat in this run")
        gate(f"{scene}: at least {least:g} times gsplat", None if ratio is None else ratio >= least, detail)
    for scene, floor in FLOORS.items():
        row, on_h100 = native_rows.get(scene), "H100" in torch.cuda.get_device_name()
        total = row["forward"] + row["backward"] if row and on_h100 else None
        passed = None if total is None else total <= 2 * floor + 0.03
        gate(f"{scene}: twice the floor", passed, f"{total:.3f} ms" if total else "the floor is of an H100")
    shares = [row["peak_mib"] for row in rows if row["scene"] == "B" and row["backend"] != "native"]
    share = native_rows["B"]["peak_mib"] / min(shares) if shares else None
    gate(
        "B: 60 % of gsplat's memory", None if share is None else share <= 0.6, f"{share:.0%}" if share else "no gsplat"
    )
    return found


def ratio_to_gsplat(scene: str, rows: list[dict]) -> float | None:
    """By how much forward + backward is faster than the better of gsplat's two layouts."""
    ours = [r for r in rows if r["scene"] == scene and r["backend"] == "native"]
    theirs = [r for r in rows if r["scene"] == scene and r["backend"] != "native"]
    if not ours or not theirs:
        return None
    return min(r["forward"] + r["backward"] for r in theirs) / (ours[0]["forward"] + ours[0]["backward"])


def table(found: dict[str, Any]) -> str:
    head = (
        "scene",
        "backend",
        "forward",
        "backward",
        "wall",
        "step",
        "x gsplat",
        "x floor",
        "MiB",
        "image",
        "gradient",
    )
    lines = ["{:9} {:14}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>8}{:>9}{:>9}".format(*head)]
    for row in found["rows"]:
        ours, floor = row["backend"] == "native", FLOORS.get(row["scene"])
        ratio = ratio_to_gsplat(row["scene"], found["rows"]) if ours else None
        of_floor = (row["forward"] + row["backward"]) / floor if floor and "H100" in found["gpu"] else None
        numbers = [row["forward"], row["backward"], row["wall"], row["step"], ratio, of_floor]
        cells = "".join(f"{'-' if n is None else format(n, '.3f'):>9}" for n in numbers)
        errors_ = f"{row['image_error']:9.1e}{row['gradient_error']:9.1e}"
        lines.append(f"{row['scene']:9} {row['backend']:14}{cells}{row['peak_mib']:8.0f}{errors_}")
    for gate in found["gates"]:
        mark = {True: "pass", False: "FAIL", None: "  - "}[gate["passed"]]
        lines.append(f"{mark}  {gate['gate']}: {gate['detail']}")
    lines += [f"left out: {name}: {why}" for name, why in found["left_out"].items()]
    return "\n".join(lines)
