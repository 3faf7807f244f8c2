"""result.json of a training: figures by protocol and mask, what it took, and what it was made with."""

from __future__ import annotations

from typing import Any

from gs_reg.models.avatar import Avatar

from ..look.report import read_json, read_json_lines
from ..runs.folder import versions
from ..runs.stage_times import peak_memory
from .distilling import REPORT
from .drawing import Head
from .evaluation import protocol_line
from .job import Job
from .protocols import Name

PROTOCOLS: tuple[Name, ...] = ("self_reenactment", "novel_view")


def write_result(job: Job, model: Head, figures: dict[str, Any]) -> dict[str, Any]:
    spent, capture = job.times.spent(), job.source.capture
    result = {
        "command": "avatar train",
        "preset": job.config.preset,
        "method": job.config.method,
        "prior": capture.prior,
        "prior_licence": job.source.prior.licence,
        "gaussians": len(model.means),
        "gaussians_that_skip_the_fields": int((~model.moving).sum()) if isinstance(model, Avatar) else 0,
        "size": [capture.cameras.width, capture.cameras.height],
        **{name: figures.get(name) for name in PROTOCOLS},
        "protocols": {name: protocol_line(job, model, name) for name in PROTOCOLS},
        "lpips": figures["lpips"],
        "frames_per_second": figures["frames_per_second"],
        "distil": read_json(job.run.path / REPORT) or None,
        "seconds": round(sum(stage["seconds"] for stage in spent.values()), 2),
        "stages": spent,
        "training_stages": seconds_by_stage(job),
        "peak_gb": peak_memory(),
        "seed": job.config.seed,
        "versions": versions(),
    }
    job.run.write_json("result.json", result)
    return result


def seconds_by_stage(job: Job) -> dict[str, float]:
    """Of the training's stages, from the steps that events.jsonl has."""
    seen: dict[str, list[float]] = {}
    for event in read_json_lines(job.run.path / "events.jsonl"):
        if "ms" in event and "stage" in event:
            seen.setdefault(event["stage"], []).append(event["ms"] / 1000)
    steps = job.config.stage_steps
    steps["rig-bound"] = steps["warm-up"] + steps["joint"]
    return {name: round(sum(ms) / len(ms) * steps.get(name, 0), 1) for name, ms in seen.items()}


def words(figures: dict[str, Any] | None) -> str:
    """A protocol's PSNR by mask."""
    if not figures:
        return "nothing held out"
    found = [(name, figures[name]["psnr"], figures[name]["ssim"]) for name in ("full", "head", "face")]
    return ", ".join(f"{name} {psnr:.2f} dB / {ssim:.3f}" for name, psnr, ssim in found if psnr is not None)
