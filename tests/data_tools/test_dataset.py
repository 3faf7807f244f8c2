"""The normalised world, what is opened when, and what is told."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from gs_reg.data_tools import synthetic
from gs_reg.data_tools.dataset import ReadConfig, finer, load_scene, load_views, read_dataset
from gs_reg.data_tools.synthetic import Rig
from gs_reg.errors import InputError
from gs_reg.geometry import project
from tests.data_tools import photosets
from tests.data_tools.photosets import points_of, shoot


def test_the_world_is_centred_and_of_size_one(tmp_path):
    dataset = read_dataset(photosets.write_transforms(tmp_path, shoot(5)))
    centers = torch.cat([f.camera.centers for f in dataset.frames])
    torch.testing.assert_close(centers.mean(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-9)
    assert float(centers.norm(dim=1).mean()) == pytest.approx(1)
    matrix = dataset.source_from_world
    torch.testing.assert_close(matrix[:3, :3], matrix[0, 0] * torch.eye(3, dtype=torch.float64))
    assert matrix.dtype == torch.float64 and matrix[0, 0] > 0


@pytest.mark.parametrize("offset", [0.0, 5e6])
def test_source_from_world_brings_points_home(tmp_path, offset):
    """Points seen by the normalised cameras project as those of the source, also for survey coordinates."""
    shots = shoot(4)
    moved = []
    for shot in shots:
        pose = shot.pose.copy()
        pose[:3, 3] -= pose[:3, :3] @ np.full(3, offset)
        moved.append(photosets.Shot(shot.name, shot.pixels, pose, shot.f))
    dataset = read_dataset(photosets.write_transforms(tmp_path, moved))
    in_source = points_of(shots)[:2] + offset
    world_from_source = torch.linalg.inv(dataset.source_from_world)
    in_world = torch.from_numpy(in_source) @ world_from_source[:3, :3].T + world_from_source[:3, 3]
    for frame, shot in zip(dataset.frames, shots, strict=True):
        seen = (points_of(shots)[:2] @ shot.pose[:3, :3].T + shot.pose[:3, 3]) @ shot.K.T
        xy, _ = project(frame.camera, in_world)
        np.testing.assert_allclose(xy[0], seen[:, :2] / seen[:, 2:], rtol=0, atol=1e-6 if offset else 1e-9)


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_the_world_does_not_depend_on_the_unit(tmp_path, scale):
    shots = shoot(4)
    scaled = []
    for shot in shots:
        pose = shot.pose.copy()
        pose[:3, 3] *= scale
        scaled.append(photosets.Shot(shot.name, shot.pixels, pose, shot.f))
    a, b = (read_dataset(photosets.write_transforms(tmp_path / n, s)) for n, s in (("a", shots), ("b", scaled)))
    for one, other in zip(a.frames, b.frames, strict=True):
        torch.testing.assert_close(one.camera.viewmats, other.camera.viewmats, rtol=0, atol=1e-9)
    torch.testing.assert_close(b.source_from_world[:3], a.source_from_world[:3] * scale)


def test_synthetic_scene_comes_back(tmp_path):
    scene = synthetic.two_planes(Rig(width=40, height=30, samples=1))
    synthetic.write_transforms_json(scene, tmp_path)
    dataset = read_dataset(tmp_path)
    loaded = load_scene(dataset)
    assert dataset.train == loaded.names == tuple(f"{n}.png" for n in scene.train_names)
    assert dataset.test == tuple(f"{n}.png" for n in scene.test_names)
    for view, truth in zip(loaded.views, scene.train, strict=True):
        assert (view.images - truth.images).abs().max() < 0.51 / 255
        home = loaded.source_from_world @ view.cameras.world_from_camera.double()
        torch.testing.assert_close(home[0, :3, 3], truth.cameras.centers[0].double(), rtol=0, atol=1e-6)


def test_test_photos_are_not_opened(tmp_path):
    """T17: training pixels do not change when the test photos turn to noise, to wrong sizes, or are gone."""
    shots = shoot(6)
    root = photosets.write_llff(tmp_path, shots)
    for path in sorted((root / "images").iterdir()):  # a dark corner
        pixels = np.array(Image.open(path))
        pixels[:12, :12] = 0
        Image.fromarray(pixels).save(path)
    dataset = read_dataset(root, ReadConfig(test=("0", "3"), masks="dark"))
    before = load_scene(dataset)
    noise = np.random.default_rng(9).integers(0, 256, (36, 48, 3), dtype=np.uint8)
    for name in dataset.test:
        Image.fromarray(noise).save(root / "images" / name)
    again = load_scene(read_dataset(root, ReadConfig(test=("0", "3"), masks="dark")))
    for name in dataset.test:
        (root / "images" / name).write_bytes(b"broken")
    unread = load_scene(dataset)
    told = dataset.summary()
    for name in dataset.test:
        (root / "images" / name).unlink()
    gone = load_scene(dataset)
    assert dataset.summary() == told
    for other in (again, unread, gone):
        assert other.names == before.names == dataset.train
        for a, b in zip(before.views, other.views, strict=True):
            assert torch.equal(a.images, b.images) and torch.equal(a.masks, b.masks)
            assert torch.equal(a.cameras.viewmats, b.cameras.viewmats) and torch.equal(a.cameras.Ks, b.cameras.Ks)
    with pytest.raises(InputError, match="missing"):
        load_views(dataset, dataset.test)


def test_views_are_of_one_photo_each_and_of_32_bits(tmp_path):
    shots = shoot(3)
    small = photosets.Shot("shot_02.png", shots[2].pixels[:18, :24], shots[2].pose, 25.0)
    dataset = read_dataset(photosets.write_strecha(tmp_path, [*shots[:2], small]))
    scene = load_scene(dataset)
    assert [view.images.shape for view in scene.views] == [(1, 36, 48, 3)] * 2 + [(1, 18, 24, 3)]
    for view in scene.views:
        assert view.images.dtype == view.cameras.viewmats.dtype == view.cameras.Ks.dtype == torch.float32
        assert view.images.min() >= 0 and view.images.max() <= 1 and view.depths is None
    assert scene.points is None and scene.source_from_world.dtype == torch.float64


def test_summary_is_plain_and_tells_digests_of_training_photos(tmp_path):
    import hashlib

    shots = shoot(4)
    root = photosets.write_strecha(tmp_path, shots)
    (root / "images" / shots[3].name).unlink()
    told = read_dataset(root, ReadConfig(test=("1",))).summary()
    assert json.loads(json.dumps(told)) == told
    assert told["train"] == ["shot_00.png", "shot_02.png"] and told["test"] == ["shot_01.png"]
    assert told["kind"] == "strecha" and told["units"] == "metres" and told["masks"] == "none"
    (left_out,) = told["skipped"]
    assert left_out[0] == "shot_03.png" and "missing" in left_out[1]
    digests = {photo["name"]: photo["sha256"] for photo in told["photos"]}
    expected = hashlib.sha256((root / "images" / "shot_00.png").read_bytes()).hexdigest()
    assert digests["shot_00.png"] == expected and digests["shot_01.png"] is None
    assert [photo["use"] for photo in told["photos"]] == ["train", "test", "train"]


def test_names_are_short_where_they_differ(tmp_path):
    """cam_a/1.png and cam_b/1.png keep their folders; a/1.png and b/2.png do not need them."""
    shots = shoot(2)
    root = photosets.write_transforms(tmp_path, shots)
    content = json.loads((root / "transforms.json").read_text())
    for first, second, expected in (
        ("a/1.png", "b/1.png", ["a/1.png", "b/1.png"]),
        ("a/1.png", "b/2.png", ["1.png", "2.png"]),
    ):
        for frame, shot, name in zip(content["frames"], shots, (first, second), strict=True):
            (root / name).parent.mkdir(exist_ok=True)
            Image.fromarray(shot.pixels).save(root / name)
            frame["file_path"] = name
        (root / "transforms.json").write_text(json.dumps(content))
        assert [f.name for f in read_dataset(root).frames] == expected


def test_importing_the_readers_is_light():
    """Under the type checker of the tests imports are slow, so a process of its own is asked."""
    code = (
        "import torch, time, sys; t = time.process_time(); import gs_reg.data_tools.dataset;"
        "print(time.process_time() - t, *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    seconds, *loaded = done.stdout.split()
    assert float(seconds) < 1
    assert {"cv2", "scipy", "pycolmap", "PIL", "skimage", "numba", "open3d", "trimesh"}.isdisjoint(loaded)


@pytest.mark.parametrize(("used", "times", "expected"), [(4, 2, 2), (4, 10, 1), (3, 2, 1.5), (1, 2, 1)])
def test_finer_photos_as_far_as_the_files_go(tmp_path, used, times, expected):
    folder = photosets.write_transforms(tmp_path, shoot(5))
    config = ReadConfig(views=3, test=("0",), downscale=used)
    dataset = read_dataset(folder, config)
    larger = finer(dataset, folder, config, times)
    assert larger.downscale.factor == expected and (larger.train, larger.test) == (dataset.train, dataset.test)
    assert torch.equal(larger.source_from_world, dataset.source_from_world)
    assert (larger is dataset) == (used == expected)
