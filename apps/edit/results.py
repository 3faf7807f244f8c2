"""result.json of a job: what was found or made, what it took, and what it was made with."""

from __future__ import annotations

from typing import Any

import torch

from gs_reg.io.digest import file_sha256
from gs_reg.parts.types import Decision

from ..runs.folder import versions
from ..runs.stage_times import peak_memory
from .job import Job
from .tables import row_source

HISTOGRAM = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 1.0)
"""Edges of the bins of softness."""


def write_parts_result(job: Job, decision: Decision) -> None:
    job.run.write_json("result.json", {"command": "edit parts", **common(job), **found(job, decision)})


def found(job: Job, decision: Decision) -> dict[str, Any]:
    """Of the parts."""
    edges = torch.tensor(HISTOGRAM)
    counts = torch.histogram(decision.softness.cpu().float().clamp(0, 1), edges).hist
    return {
        "parts": job.run.read_json("parts.json"),
        "teacher": job.run.read_json("teacher.json") if (job.run.path / "teacher.json").is_file() else None,
        "softness": {"edges": list(HISTOGRAM), "gaussians": [int(n) for n in counts]},
    }


def common(job: Job) -> dict[str, Any]:
    """Of every job: sizes, what the stages took, seed, model, versions."""
    spent = job.spent()
    calls: dict[str, int] = {}
    for stage in spent.values():
        for purpose, count in stage["calls"].items():
            calls[purpose] = calls.get(purpose, 0) + count
    cameras = job.scene.views.cameras
    return {
        "preset": job.config.preset,
        "gaussians": len(job.scene.rows.table),
        "views": len(job.scene.views),
        "size": [cameras.width, cameras.height],
        "seconds": round(sum(stage["seconds"] for stage in spent.values()), 2),
        "stages": spent,
        "model_calls": calls,
        "peak_gb": peak_memory(),
        "seed": job.config.seed,
        "model": model_files(job.config.model),
        "source": row_source(job.config.model),
        "versions": versions(),
    }


def model_files(model: str | None) -> dict[str, Any] | None:
    """The folder with the digest of each of its files; None where no model is named."""
    if model is None:
        return None
    from gs_reg.diffusion.loading import folder_of

    folder = folder_of(model)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {"folder": str(folder), "sha256": {str(path.relative_to(folder)): file_sha256(path) for path in files}}
