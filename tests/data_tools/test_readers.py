"""Every layout is read from outside knowledge of its format, and all tell the same scene."""

import json

import numpy as np
import pytest
import torch

from gs_reg.data_tools.dataset import Dataset, ReadConfig, load_scene, load_views, read_dataset
from gs_reg.data_tools.readers import detect
from gs_reg.data_tools.readers.middlebury_stereo import motorcycle_depth, motorcycle_disparity, motorcycle_views
from tests.data_tools import photosets
from tests.data_tools.photosets import Shot, points_of, shoot

WRITERS = {
    "llff": photosets.write_llff,
    "transforms": photosets.write_transforms,
    "colmap old text": lambda root, shots: photosets.write_old_colmap(root, shots, text=True),
    "colmap old binary": lambda root, shots: photosets.write_old_colmap(root, shots, text=False),
    "colmap new text": lambda root, shots: photosets.write_new_colmap(root, shots, text=True),
    "colmap new binary": lambda root, shots: photosets.write_new_colmap(root, shots, text=False),
    "strecha": photosets.write_strecha,
    "middlebury-multiview": photosets.write_temple,
}


def poses_in_source(dataset: Dataset) -> np.ndarray:
    """Camera from source, of every photo."""
    source_from_world = dataset.source_from_world.numpy()
    scale = source_from_world[0, 0]
    out = []
    for frame in dataset.frames:
        pose = np.linalg.inv(source_from_world @ np.linalg.inv(frame.camera.viewmats[0].numpy()))
        pose[:3] *= scale  # the inverse of a similarity holds 1 / scale
        out.append(pose)
    return np.stack(out)


def check_is_the_scene(dataset: Dataset, shots: list[Shot]) -> None:
    assert [f.name for f in dataset.frames] == [s.name for s in shots]
    np.testing.assert_allclose(poses_in_source(dataset), [s.pose for s in shots], rtol=0, atol=1e-6)
    for frame, shot in zip(dataset.frames, shots, strict=True):
        assert (frame.camera.width, frame.camera.height) == shot.size
        np.testing.assert_allclose(frame.camera.Ks[0], shot.K, rtol=0, atol=1e-6)
    for view, shot in zip(load_views(dataset, [s.name for s in shots]), shots, strict=True):
        assert np.array_equal((view.images[0] * 255).round(), shot.pixels)


@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_tells_the_same_scene(tmp_path, layout):
    shots = shoot()
    root = WRITERS[layout](tmp_path, shots)
    assert detect(root) == layout.split()[0]
    dataset = read_dataset(root)
    assert dataset.kind == layout.split()[0] and dataset.root == root
    check_is_the_scene(dataset, shots)
    if "new" in layout:
        suffix = "txt" if "text" in layout else "bin"
        assert all((root / "sparse" / "0" / f"{name}.{suffix}").is_file() for name in ("rigs", "frames"))


def test_the_normalised_worlds_agree(tmp_path):
    """All but LLFF centre and scale by the cameras, so their worlds are one world."""
    shots = shoot()
    worlds = []
    for i, (layout, write) in enumerate(WRITERS.items()):
        if layout != "llff":
            dataset = read_dataset(write(tmp_path / str(i), shots))
            worlds.append(torch.cat([frame.camera.viewmats for frame in dataset.frames]))
    for world in worlds[1:]:
        torch.testing.assert_close(world, worlds[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("text", [True, False])
def test_shuffled_colmap_ids_change_nothing(tmp_path, text):
    shots = shoot()
    root = photosets.write_old_colmap(tmp_path, shots, text, ids=(9, 4, 11, 2))
    check_is_the_scene(read_dataset(root), shots)


@pytest.mark.parametrize("layout", [key for key in WRITERS if key.startswith("colmap")])
def test_colmap_points_come_without_those_in_a_camera(tmp_path, layout):
    shots = shoot()
    dataset = read_dataset(WRITERS[layout](tmp_path, shots))
    source_from_world = dataset.source_from_world
    points = dataset.points @ source_from_world[:3, :3].T + source_from_world[:3, 3]
    np.testing.assert_allclose(sorted(points.tolist()), points_of(shots)[:2], atol=1e-9)
    scene = load_scene(dataset)
    torch.testing.assert_close(scene.points, dataset.points.float())


def test_colmap_models_are_found_below_and_the_largest_is_taken(tmp_path):
    shots = shoot(6)
    photosets.write_old_colmap(tmp_path / "a", shots, text=False)
    photosets.write_old_colmap(tmp_path / "b", shots[:2], text=False)
    (tmp_path / "b" / "sparse" / "0").rename(tmp_path / "a" / "sparse" / "1")
    assert len(read_dataset(tmp_path / "a", ReadConfig(test_every=0)).frames) == 6
    moved = tmp_path / "c"
    moved.mkdir()
    (tmp_path / "a" / "images").rename(moved / "images")
    (tmp_path / "a" / "sparse" / "0").rename(moved / "model")
    assert detect(moved) == "colmap" and len(read_dataset(moved).frames) == 6


def test_colmap_lists_what_it_leaves_out(tmp_path):
    shots = shoot(5)
    root = photosets.write_old_colmap(tmp_path, shots[:4], text=False)
    photosets.write_photos(root / "images", shots)
    (root / "images" / shots[1].name).unlink()
    dataset = read_dataset(root)
    assert [f.name for f in dataset.frames] == [shots[i].name for i in (0, 2, 3)]
    (first, why), (last, reason) = dataset.skipped
    assert first == shots[1].name and "missing" in why
    assert last == shots[4].name and "not registered" in reason


def test_colmap_photos_by_another_suffix_and_in_folders(tmp_path):
    from PIL import Image

    shots = shoot(3)
    root = photosets.write_new_colmap(tmp_path, shots)
    for shot in shots:
        Image.open(root / "images" / shot.name).save((root / "images" / shot.name).with_suffix(".bmp"))
        (root / "images" / shot.name).unlink()
    dataset = read_dataset(root)
    assert [f.path.suffix for f in dataset.frames] == [".bmp"] * 3
    other = tmp_path / "elsewhere"
    (root / "images").rename(other)
    assert read_dataset(root, ReadConfig(images=other)).frames[0].path.parent == other


def test_transforms_with_intrinsics_in_every_frame(tmp_path):
    shots = shoot()
    root = photosets.write_transforms(tmp_path, shots)
    content = json.loads((root / "transforms.json").read_text())
    for i, frame in enumerate(content["frames"]):
        frame.update(fl_x=60.0 + i, fl_y=61.0 + i, cx=20.0, cy=19.0, w=48, h=36)
    content["fl_x"] = 1.0
    (root / "transforms.json").write_text(json.dumps(content))
    for i, frame in enumerate(read_dataset(root).frames):
        assert frame.camera.Ks[0, :2].tolist() == [[60.0 + i, 0, 20], [0, 61.0 + i, 19]]


def test_transforms_by_angle_and_without_suffix(tmp_path):
    """Blender's layout: camera_angle_x alone, file_path without suffix, one file for each part of the split."""
    shots = shoot(6)
    root = photosets.write_transforms(tmp_path, shots)
    content = json.loads((root / "transforms.json").read_text())
    (root / "transforms.json").unlink()
    angle = 2 * np.arctan(48 / 2 / 50.0)
    for part, chosen in (("train", [0, 1, 2]), ("val", [3]), ("test", [4, 5])):
        frames = [dict(content["frames"][i], file_path=f"./images/shot_{i:02d}") for i in chosen]
        (root / f"transforms_{part}.json").write_text(json.dumps({"camera_angle_x": angle, "frames": frames}))
    dataset = read_dataset(root)
    check_is_the_scene(dataset, shots)
    assert dataset.train == tuple(s.name for s in shots[:3]) and dataset.test == tuple(s.name for s in shots[4:])


def test_transforms_by_two_angles(tmp_path):
    shots = shoot()
    root = photosets.write_transforms(tmp_path, shots)
    content = json.loads((root / "transforms.json").read_text())
    del content["fl_x"], content["fl_y"]
    content.update(camera_angle_x=2 * np.arctan(24 / 50), camera_angle_y=2 * np.arctan(18 / 55))
    (root / "transforms.json").write_text(json.dumps(content))
    K = read_dataset(root).frames[0].camera.Ks[0]
    np.testing.assert_allclose([K[0, 0], K[1, 1]], [50, 55])


def test_applied_transform_and_scale_are_undone(tmp_path):
    """nerfstudio's files say how they were turned; exports must land in the frame before that."""
    shots = shoot()
    root = photosets.write_transforms(tmp_path, shots)
    content = json.loads((root / "transforms.json").read_text())
    turn = np.array([[0, 1, 0, 0.5], [1, 0, 0, -2], [0, 0, -1, 1]], dtype=float)
    for frame in content["frames"]:
        pose = np.vstack([turn, [0, 0, 0, 1]]) @ np.array(frame["transform_matrix"])
        pose[:3, 3] *= 0.25
        frame["transform_matrix"] = pose.tolist()
    content.update(applied_transform=turn.tolist(), applied_scale=0.25)
    (root / "transforms.json").write_text(json.dumps(content))
    check_is_the_scene(read_dataset(root), shots)


def test_split_named_in_transforms(tmp_path):
    shots = shoot(6)
    names = [f"images/{s.name}" for s in shots]
    root = photosets.write_transforms(
        tmp_path, shots, train_filenames=names[1:4], val_filenames=[names[0]], test_filenames=[names[5], names[0]]
    )
    dataset = read_dataset(root)
    assert dataset.train == tuple(s.name for s in shots[1:4])
    assert dataset.test == (shots[0].name, shots[5].name)


def test_llff_world_puts_the_nearest_depth_at_four_thirds(tmp_path):
    dataset = read_dataset(photosets.write_llff(tmp_path, shoot()))
    world_from_source = torch.linalg.inv(dataset.source_from_world)
    assert world_from_source[:3, 3].abs().max() == 0
    assert float(world_from_source[0, 0]) == pytest.approx(1 / (0.75 * photosets.NEAR))


def test_stereo_folder(tmp_path):
    dataset = read_dataset(photosets.write_stereo(tmp_path))
    assert (dataset.kind, dataset.units) == ("middlebury-stereo", "metres")
    assert [f.name for f in dataset.frames] == ["im0.png", "im1.png"]
    assert [f.camera.Ks[0, :2].tolist() for f in dataset.frames] == [
        [[50.5, 0, 24], [0, 50.5, 17.5]],
        [[50.5, 0, 27], [0, 50.5, 17.5]],
    ]
    left, right = poses_in_source(dataset)
    np.testing.assert_allclose(left, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(np.linalg.inv(right)[:3, 3], [0.2, 0, 0], atol=1e-12)


def test_built_in_pair_fits_its_measured_disparity():
    """The cameras send left pixels at the measured depth to the right pixel that the disparity names."""
    from gs_reg.geometry import project, unproject

    left, right = motorcycle_views()
    disparity, depth = motorcycle_disparity(), motorcycle_depth()
    known = torch.isfinite(disparity)
    assert 0.9 < known.float().mean() < 0.95 and 1.5 < depth[known].median() < 5
    xy, _ = project(right.cameras, unproject(left.cameras, depth.nan_to_num(1.0)[None])[0])
    x = torch.arange(741) + 0.5
    assert (x - xy[0, ..., 0] - disparity)[known].abs().max() < 1e-3
    dataset = read_dataset("motorcycle")
    assert dataset.kind == "middlebury-stereo" and dataset.units == "metres"
    for view, loaded in zip((left, right), load_scene(dataset).views, strict=True):
        assert torch.equal(view.images, loaded.images) and torch.equal(view.cameras.Ks, loaded.cameras.Ks)


def test_kind_can_be_said(tmp_path):
    root = photosets.write_llff(tmp_path, shoot())
    photosets.write_transforms(root, shoot())
    assert detect(root) == "llff"
    assert read_dataset(root, ReadConfig(kind="transforms")).kind == "transforms"
