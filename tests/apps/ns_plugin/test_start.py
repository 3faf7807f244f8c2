"""Cameras, start and photos of the nerfstudio plugin, without nerfstudio."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from gs_reg.apps.ns_plugin.cameras import our_camera, photo_of, training_views
from gs_reg.apps.ns_plugin.photos import working_photos
from gs_reg.apps.ns_plugin.start import at_points, photo_colors, start_splats
from gs_reg.data_tools.dataset import ReadConfig, load_views, read_dataset
from gs_reg.errors import InputError
from gs_reg.geometry import project
from gs_reg.models.free import FreeConfig
from gs_reg.sh import sh_to_rgb
from gs_reg.types import Cameras, Views

K = torch.tensor([[20.0, 0, 8], [0, 20, 6], [0, 0, 1]])


def their_camera(pose, kind=1):
    """As much of a camera of nerfstudio as is looked at: camera-to-world, x right, y up, z back."""
    return SimpleNamespace(
        camera_to_worlds=pose[None],
        camera_type=torch.tensor([kind]),
        width=torch.tensor([16]),
        height=torch.tensor([12]),
        get_intrinsics_matrices=lambda: K[None],
    )


def test_a_point_ahead_and_above_is_in_the_upper_half_of_our_picture():
    camera = our_camera(their_camera(torch.eye(4)[:3]))
    pixel, depth = project(camera, torch.tensor([[0.1, 0.2, -1.0]]))
    torch.testing.assert_close(pixel[0, 0], torch.tensor([10.0, 2.0]))
    assert float(depth[0, 0]) == pytest.approx(1)
    assert (camera.width, camera.height) == (16, 12)


def test_other_cameras_than_perspective_ones_are_refused():
    with pytest.raises(InputError, match="expected a perspective one"):
        our_camera(their_camera(torch.eye(4)[:3], kind=2))


def test_training_views_mask_what_has_no_alpha():
    image = torch.zeros(12, 16, 4, dtype=torch.uint8)
    image[:, 8:, 3], image[..., 0] = 255, 51
    cameras = type("Sliced", (), {"__getitem__": lambda self, rows: their_camera(torch.eye(4)[:3])})()
    dataset = SimpleNamespace(cameras=cameras, image_filenames=[SimpleNamespace(name="a.png")])
    manager = SimpleNamespace(train_dataset=dataset, cached_train=[{"image": image}])
    (view,) = training_views(manager)
    assert view.names == ("a.png",)
    assert view.masks is not None and view.masks[0, :, 8:].all() and not view.masks[0, :, :8].any()
    assert float(view.photos[0, 0, 0, 0]) == pytest.approx(0.2)
    assert photo_of(image).dtype == torch.float32


def red_and_blue() -> Views:
    """One camera; its photo is red on the left and blue on the right."""
    photo = torch.zeros(1, 12, 16, 3)
    photo[:, :, :8, 0], photo[:, :, 8:, 2] = 1, 1
    return Views(Cameras(torch.eye(4)[None], K[None], 16, 12), photo, ("a",))


def test_points_take_the_colours_of_the_photos():
    points = torch.tensor([[-0.2, 0, 1.0], [0.2, 0, 1], [9, 0, 1], [0, 0, -1]])
    expected = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]])
    torch.testing.assert_close(photo_colors([red_and_blue()], points), expected)
    splats = start_splats([red_and_blue()], "points", points, FreeConfig(opacity=0.1, sh_degree=2), 1, 0)
    torch.testing.assert_close(sh_to_rgb(splats.sh[:, 0]), expected)
    assert splats.sh.shape == (4, 9, 3)
    torch.testing.assert_close(splats.opacities, torch.full((4,), 0.1))
    assert not splats.extra["filled"].any()


def test_a_start_at_points_that_are_not_there_is_refused():
    with pytest.raises(InputError, match=r"start points: the data have none"):
        at_points([red_and_blue()], None)


@pytest.fixture
def folder(tmp_path):
    """Three photos with lens distortion, and one that is listed and missing."""
    (tmp_path / "images").mkdir()
    frames = []
    for i in range(4):
        pose = np.eye(4)
        pose[0, 3] = i
        frames.append({"file_path": f"images/{i}.png", "transform_matrix": pose.tolist()})
        if i < 3:
            pixels = np.random.default_rng(i).integers(0, 255, (24, 32, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
    head = {"fl_x": 30, "fl_y": 30, "cx": 16, "cy": 12, "w": 32, "h": 24, "frames": frames}
    (tmp_path / "transforms.json").write_text(json.dumps({**head, "k1": 0.1}))
    return tmp_path


def test_photos_are_written_as_our_readers_read_them_and_only_once(folder, tmp_path):
    dataset = read_dataset(folder, ReadConfig(downscale=2))
    photos, masks = working_photos(dataset, dataset.train, tmp_path / "cache")
    assert masks is None and len({photo.parent for photo in photos}) == 1
    times = [photo.stat().st_mtime_ns for photo in photos]
    for photo, view in zip(photos, load_views(dataset, dataset.train), strict=True):
        with Image.open(photo) as image:
            stored = torch.from_numpy(np.array(image)).float() / 255
        assert stored.shape == view.photos[0].shape
        torch.testing.assert_close(stored, view.photos[0], rtol=0, atol=0.5 / 255 + 1e-6)
    assert [
        photo.stat().st_mtime_ns for photo in working_photos(dataset, dataset.train, tmp_path / "cache")[0]
    ] == times
    other = read_dataset(folder, ReadConfig(downscale=1))
    assert working_photos(other, other.train, tmp_path / "cache")[0][0].parent != photos[0].parent


def test_photos_that_need_nothing_are_their_own_files(folder, tmp_path):
    head = json.loads((folder / "transforms.json").read_text())
    (folder / "transforms.json").write_text(json.dumps({**head, "k1": 0}))
    dataset = read_dataset(folder)
    photos, _ = working_photos(dataset, dataset.train, tmp_path / "cache")
    assert [photo.parent for photo in photos] == [folder / "images"] * 3
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("mode", ["ignore", "transparent"])
def test_masks_become_files_or_alpha(folder, tmp_path, mode):
    (folder / "masks").mkdir()
    mask = np.zeros((24, 32), np.uint8)
    mask[:, 10:] = 255
    for i in range(3):
        Image.fromarray(mask).save(folder / "masks" / f"{i}.png")
    dataset = read_dataset(folder, ReadConfig(masks=mode))
    photos, masks = working_photos(dataset, dataset.train, tmp_path / "cache")
    if mode == "ignore":
        assert masks is not None
        kept, channels = np.array(Image.open(masks[0])) > 0, 3
    else:
        assert masks is None
        kept, channels = np.array(Image.open(photos[0]))[..., 3] > 0, 4
    assert np.array(Image.open(photos[0])).shape[2] == channels
    (view, *_) = load_views(dataset, dataset.train)
    assert view.masks is not None and torch.equal(torch.from_numpy(kept), view.masks[0])
