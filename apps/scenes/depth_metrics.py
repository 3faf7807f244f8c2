"""Depth metrics of a run, before and after training, for data that have a measured ground truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.data_tools.arrays import read_array
from gs_reg.data_tools.dataset import Dataset
from gs_reg.data_tools.readers import middlebury_stereo as stereo
from gs_reg.errors import InputError
from gs_reg.geometry import similarity_scale

from ..runs.folder import Run

CLOSE = 0.05
"""Relative error below which a depth counts as right."""


def measured_depths(data: str) -> dict[str, Float[Tensor, "H W"]]:
    """Ground-truth camera-space z by name of photo, in units of the source; NaN = unknown."""
    if data != stereo.MOTORCYCLE:
        return {}
    left = stereo.motorcycle_source().frames[0].name
    return {left: stereo.motorcycle_depth()}


def depth_metrics(
    run: Run, dataset: Dataset, data: str, rendered: Mapping[str, Float[Tensor, "H W"]]
) -> dict[str, Any] | None:
    """Errors over all pixels with ground truth, occluded ones included; None where the source has no ground truth.

    `rendered` holds the depths of the trained splats by name of photo, in the normalised world.
    """
    scale = float(similarity_scale(dataset.source_from_world))
    truth, initial, final = [], [], []
    for name, measured in measured_depths(data).items():
        if name in rendered:
            size = rendered[name].shape
            truth.append(nearest(measured, size).flatten())
            initial.append(scale * nearest(stored_depth(run, dataset.stems[name]), size).flatten())
            final.append(scale * rendered[name].flatten())
    if not truth:
        return None
    ground_truth = torch.cat(truth)
    return {
        "pixels": int(ground_truth.isfinite().sum()),
        **errors(torch.cat(final), ground_truth),
        "initial": errors(torch.cat(initial), ground_truth),
    }


def stored_depth(run: Run, stem: str) -> Float[Tensor, "H W"]:
    """The initial depth map of a photo, by its file's name, in the normalised world."""
    path = run.path / "depths" / f"{stem}.npy"
    values = read_array(path)
    if values.ndim != 2 or values.dtype.kind != "f":
        raise InputError(f"{path}: expected a depth map [H, W] of floats, got {list(values.shape)} {values.dtype}")
    return torch.from_numpy(values.astype(np.float32))


def nearest(depth: Float[Tensor, "h v"], size: tuple[int, ...]) -> Float[Tensor, "H W"]:
    """Nearest-neighbour resampling, which does not mix the depths of an edge's two sides."""
    return torch.nn.functional.interpolate(depth[None, None], size=tuple(size), mode="nearest-exact")[0, 0]


def errors(depth: Float[Tensor, "P"], measured: Float[Tensor, "P"]) -> dict[str, float]:
    """Median relative error, and the share of pixels within 5 %."""
    known = measured.isfinite()
    relative = ((depth - measured).abs() / measured)[known]
    return {
        "median_relative_error": float(relative.median()),
        "within_5_percent": float((relative <= CLOSE).float().mean()),
    }
