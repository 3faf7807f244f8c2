"""scene.json and depth maps of a run, damaged: one line that names the file."""

import copy
import json

import numpy as np
import pytest
import torch

from gs_reg.apps.look.scene_file import read_scene
from gs_reg.apps.runs.folder import Run
from gs_reg.apps.scenes.depth_metrics import stored_depth
from gs_reg.densify import DensifyConfig, density_control
from gs_reg.errors import InputError

EYE = torch.eye(4).tolist()
SCENE = {
    "units": "units",
    "source_from_world": EYE,
    "background": [0.0, 0.0, 0.0],
    "train": ["a.png"],
    "test": [],
    "cameras": {"a.png": {"viewmat": EYE, "K": torch.eye(3).tolist(), "width": 4, "height": 3}},
}


def write(folder, *path, value=None):
    scene = copy.deepcopy(SCENE)
    at = scene
    for key in path[:-1]:
        at = at[key]
    if path:
        at[path[-1]] = value
    (folder / "scene.json").write_text(json.dumps(scene))
    return Run(folder)


def test_a_whole_one(tmp_path):
    scene = read_scene(write(tmp_path))
    assert scene.cameras["a.png"].width == 4 and scene.train == ("a.png",) and not scene.offset.any()


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("cameras", "a.png", "viewmat"), [[1, 0, 0, 0]] * 5, r"\[4, 4\]"),
        (("cameras", "a.png", "viewmat"), np.zeros((4, 4)).tolist(), "no inverse"),
        (("cameras", "a.png", "K"), [[1, 0], [0, 1]], r"\[3, 3\]"),
        (("cameras", "a.png", "width"), 0, "0x3 pixels"),
        (("cameras", "a.png", "width"), 1 << 40, "pixels"),
        (("source_from_world",), 3.0, r"\[4, 4\]"),
        (("source_from_world",), [[1, 5, 0, 0], *EYE[1:]], "a shear"),
        (("background",), [0.0, float("nan"), 0.0], "finite"),
        (("train",), ["b.png"], "'b.png' has no camera"),
        (("test",), ["c.png"], "has no camera"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, path, value, reason):
    with pytest.raises(InputError, match=rf"scene\.json: .*{reason}") as caught:
        read_scene(write(tmp_path, *path, value=value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((2, 2), dtype="V4"), np.zeros((2, 2), int)])
def test_depth_maps_that_are_none(tmp_path, values):
    (tmp_path / "depths").mkdir()
    np.save(tmp_path / "depths" / "a.npy", np.full((2, 3), 2.0))
    assert stored_depth(Run(tmp_path), "a").tolist() == [[2.0] * 3] * 2
    np.save(tmp_path / "depths" / "a.npy", values)
    with pytest.raises(InputError, match=r"a\.npy: expected a depth map \[H, W\]"):
        stored_depth(Run(tmp_path), "a")


def test_a_state_of_density_control_that_is_none():
    control = density_control(DensifyConfig(method="mcmc"), 0)
    control.load({"scale": torch.tensor(2.0)})
    for wrong in (torch.zeros(0), torch.zeros(2)):
        with pytest.raises(InputError, match="density control: scale: expected a tensor"):
            control.load({"scale": wrong})
