import dataclasses

import numpy as np
import pytest
import torch

from gs_reg.apps.runs.folder import Run
from gs_reg.apps.scenes.depth_metrics import depth_metrics, errors, measured_depths
from gs_reg.data_tools.dataset import read_dataset
from gs_reg.errors import InputError


def test_errors_by_hand():
    measured = torch.tensor([1.0, 2.0, 4.0, float("nan"), 10.0])
    depth = torch.tensor([1.04, 2.0, 5.0, 1.0, 0.0])  # nothing drawn counts as wrong
    assert errors(depth, measured) == {
        "median_relative_error": pytest.approx(0.04, abs=1e-6),
        "within_5_percent": pytest.approx(0.5),
    }


def test_the_built_in_pair_is_measured_in_metres(tmp_path):
    """Depths of the normalised world, before and after, against the left photo's disparity; 7 % of it is unknown."""
    dataset = read_dataset("motorcycle")
    name, truth = next(iter(measured_depths("motorcycle").items()))
    assert name == "motorcycle_left.png" and truth.shape == (500, 741)
    assert 0.91 < float(truth.isfinite().float().mean()) < 0.95 and 1.5 < float(truth.nanmedian()) < 4
    world = truth.nan_to_num(1.0) / dataset.source_from_world[0, 0].float()
    (tmp_path / "depths").mkdir()
    np.save(tmp_path / "depths" / "motorcycle_left.npy", (1.02 * world).numpy())
    metrics = depth_metrics(Run(tmp_path), dataset, "motorcycle", {name: world, "motorcycle_right.png": world})
    assert metrics is not None and metrics["pixels"] == int(truth.isfinite().sum())
    assert metrics["median_relative_error"] < 1e-5 and metrics["within_5_percent"] == 1
    assert metrics["initial"]["median_relative_error"] == pytest.approx(0.02, abs=1e-4)
    half = torch.nn.functional.interpolate(world[None, None], size=(250, 370), mode="nearest-exact")[0, 0]
    small = depth_metrics(Run(tmp_path), dataset, "motorcycle", {name: half})
    assert small is not None and small["median_relative_error"] < 1e-5 and small["pixels"] < metrics["pixels"] / 3.9
    (tmp_path / "depths" / "motorcycle_left.npy").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"motorcycle_left\.npy: (not an array|the file|No such)"):
        depth_metrics(Run(tmp_path), dataset, "motorcycle", {name: world})


def test_other_photos_have_no_measured_depth(photos, tmp_path):
    dataset = dataclasses.replace(read_dataset(photos))
    assert depth_metrics(Run(tmp_path), dataset, str(photos), {}) is None
