"""Photos of two cameras with the same names in two folders: each has its own files, and the user's own depth."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from gs_reg.data_tools.dataset import ReadConfig, read_dataset
from tests.apps.conftest import run_command

NAMES = {f"train_0{i}": f"cam{i % 2}/000{i // 2}" for i in range(3)} | {"test_00": "cam1/0001"}
PARTS = ("depths", "renders/test", "renders/train", "masks")


@pytest.fixture(scope="module")
def folders(photos, tmp_path_factory):
    """The photos and their exact depth by these names; with train_02 = cam0/0001 and test_00 = cam1/0001."""
    root = tmp_path_factory.mktemp("folders")
    text = (photos / "transforms.json").read_text()
    for old, new in NAMES.items():
        for folder, ending in (("images", "png"), ("depths", "npy")):
            (root / folder / new).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(photos / folder / f"{old}.{ending}", root / folder / f"{new}.{ending}")
        text = text.replace(f"{old}.png", f"{new}.png")
    (root / "transforms.json").write_text(text)
    return root


@pytest.fixture(scope="module")
def run(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "run"
    depth = ("--depth.source", "files", "--depth.path", folders / "depths", "--depth.kind", "metric")
    done = run_command("reconstruct", folders, "--out", out, "--preset", "ci", *depth)
    assert done.returncode == 0, done.stderr
    return out


def test_every_photo_has_its_own_files(run):
    have = {part: sorted(path.name for path in (run / part).iterdir()) for part in PARTS}
    train, test = ("cam0_0000", "cam0_0001", "cam1_0000"), "cam1_0001"
    assert have == {
        "depths": sorted(f"{name}{end}" for name in train for end in (".npy", ".png", "_trained.npy", "_trained.png")),
        "renders/test": [f"{test}.png", f"{test}_photo.png"],
        "renders/train": sorted(f"{name}{end}" for name in train for end in (".png", "_photo.png")),
        "masks": sorted(
            [f"{test}.png", f"{test}_unseen.png"] + [f"{n}_views.{e}" for n in train for e in ("npy", "png")]
        ),
    }


def test_every_file_is_of_its_own_photo(run, folders):
    dataset = read_dataset(folders)
    scale = float(dataset.source_from_world[0, 0])
    for name, stem in dataset.stems.items():
        part = "test" if name in dataset.test else "train"
        photo = np.asarray(Image.open(folders / name).convert("RGB"))
        assert np.array_equal(np.asarray(Image.open(run / "renders" / part / f"{stem}_photo.png")), photo)
        if part == "train":
            exact = np.load(folders / name.replace("images", "depths").replace(".png", ".npy"))
            np.testing.assert_allclose(np.load(run / "depths" / f"{stem}.npy") * scale, exact, rtol=1e-5)
    result = json.loads((run / "result.json").read_text())
    assert set(result["views"]) == {"images/cam1/0001.png"}
    page = (run / "report.html").read_text()
    assert all(stem in page for stem in dataset.stems.values())
    assert f"{result['views']['images/cam1/0001.png']['psnr']:.2f} dB" in page


def test_render_writes_them_too(run, tmp_path):
    done = run_command("render", run, "--what", "train", "--to", tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.glob("*_depth.npy")} == {
        f"{stem}_depth.npy" for stem in ("cam0_0000", "cam0_0001", "cam1_0000")
    }


def test_flat_maps_that_fit_two_photos_are_refused(folders, tmp_path):
    for name in NAMES.values():
        shutil.copy(folders / "depths" / f"{name}.npy", tmp_path / f"{name[5:]}.npy")
    depth = ("--depth.source", "files", "--depth.path", tmp_path, "--depth.kind", "metric")
    done = run_command("reconstruct", folders, "--out", tmp_path / "run", "--preset", "ci", *depth)
    assert done.returncode == 2 and not (tmp_path / "run").exists()
    last = done.stderr.strip().splitlines()[-1]
    assert f"{tmp_path}/0000.npy: of images/cam0/0000.png, or of images/cam1/0000.png?" in last


def test_photos_chosen_by_their_whole_names(folders):
    asked = ReadConfig(train=("cam0/0000", "images/cam1/0001.png"), test=("cam0/0001.png",))
    dataset = read_dataset(folders, asked)
    assert dataset.train == ("images/cam0/0000.png", "images/cam1/0001.png")
    assert dataset.test == ("images/cam0/0001.png",)
