"""Cases folders and folders_depth: photos of one base name in two folders keep files of their own."""

import json

import numpy as np
import pytest
from PIL import Image

TRAIN, TEST = ("cam0/0001", "cam0/0002", "cam1/0002"), "cam1/0001"


@pytest.fixture(scope="module")
def run(cases, reconstruct):
    return reconstruct("folders", cases / "folders_depth")


def test_every_photo_has_its_own_files(run, cases):
    shown = [Image.open(path).tobytes() for path in (run / "renders").rglob("*_photo.png")]
    photos = [Image.open(cases / "folders" / "images" / f"{name}.png").tobytes() for name in (*TRAIN, TEST)]
    assert sorted(shown) == sorted(photos)
    assert len(list((run / "depths").rglob("*_trained.npy"))) == len(TRAIN)
    assert len(list((run / "masks").rglob("*_views.npy"))) == len(TRAIN)
    assert len(list((run / "masks").rglob("*_unseen.png"))) == 1
    assert list(json.loads((run / "result.json").read_text())["views"]) == [f"{TEST}.png"]


def test_each_map_serves_its_photo(run, cases):
    """The depths before training are the given ones, in the unit of the cameras."""
    scale = json.loads((run / "scene.json").read_text())["source_from_world"][0][0]
    stored = [np.load(path) for path in (run / "depths").rglob("*.npy") if not path.stem.endswith("_trained")]
    given = [np.load(cases / "folders_depth" / f"{name}.npy") for name in TRAIN]
    assert len(stored) == len(given)
    for depth in given:
        errors = [np.abs(scale * found / depth - 1).max() for found in stored]
        assert sorted(error < 1e-3 for error in errors) == [False, False, True]
