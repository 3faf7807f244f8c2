"""The photo sets of others: what is known of each, and that cameras and pixels fit, by epipolar lines."""

import numpy as np
import pytest
import torch

from gs_reg.data_tools.dataset import Dataset, ReadConfig, load_scene, load_views, read_dataset
from gs_reg.data_tools.flow.visibility import epipolar_distance
from gs_reg.geometry import project, transform_points
from gs_reg.types import Views


def epipolar_errors(a: Views, b: Views) -> torch.Tensor:
    """Pixels between SIFT matches (ratio test, both ways) and their epipolar lines; wrong matches included."""
    import cv2

    sift = cv2.SIFT_create(3000)
    found = [sift.detectAndCompute((v.images[0].numpy() * 255).astype(np.uint8), None) for v in (a, b)]
    matches = cv2.BFMatcher(cv2.NORM_L2).knnMatch(found[0][1], found[1][1], k=2)
    back = cv2.BFMatcher(cv2.NORM_L2).match(found[1][1], found[0][1])
    best = {m.queryIdx: m.trainIdx for m in back}
    good = [m for m, n in matches if m.distance < 0.75 * n.distance and best[m.trainIdx] == m.queryIdx]
    p, q = (torch.tensor([found[k][0][getattr(m, i)].pt for m in good]) for k, i in ((0, "queryIdx"), (1, "trainIdx")))
    # a key point of OpenCV counts pixel centres from 0
    return epipolar_distance(a.cameras, b.cameras, p + 0.5, q + 0.5)


def check_cameras_fit(dataset: Dataset, pairs: list[tuple[str, str]]) -> None:
    errors = []
    for pair in pairs:
        errors.append(epipolar_errors(*load_views(dataset, pair)))
        assert len(errors[-1]) > 40
    assert float(torch.cat(errors).median()) < 0.5


def test_fern(real_data):
    dataset = read_dataset(real_data / "llff_fern", ReadConfig(downscale=8, views=3))
    assert dataset.kind == "llff" and len(dataset.frames) == 20 and not dataset.skipped
    assert dataset.train == ("image001.png", "image010.png", "image019.png")
    assert dataset.test == ("image000.png", "image008.png", "image016.png")
    assert (dataset.downscale.folder, dataset.downscale.resized) == ("images_8", False)
    scale = 1 / float(dataset.source_from_world[0, 0])
    assert scale == pytest.approx(0.0784993, abs=5e-8)
    for frame in dataset.frames:
        K = frame.camera.Ks[0]
        assert (frame.camera.width, frame.camera.height) == (504, 378)
        assert float(K[0, 0]) == float(K[1, 1]) == pytest.approx(407.566, abs=5e-4)
        assert K[:2, 2].tolist() == [252, 189]
        rotation = frame.camera.viewmats[0, :3, :3]
        torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-6)
        assert float(torch.linalg.det(rotation)) == pytest.approx(1)
    check_cameras_fit(dataset, [(f"image{i:03d}.png", f"image{i + 1:03d}.png") for i in (0, 9, 15)])


def test_fern_cameras_see_the_bounds(real_data):
    """What lies before the middle camera at the nearest depth (1.333) and at the farthest (6.280), all others see."""
    root = real_data / "llff_fern"
    dataset = read_dataset(root, ReadConfig(downscale=8, views=3))
    bounds = np.load(root / "poses_bounds.npy")[:, 15:] / float(dataset.source_from_world[0, 0])
    assert bounds.min() == pytest.approx(4 / 3) and bounds.max() == pytest.approx(6.280, abs=5e-4)
    first, middle, last = (dataset.frame(name).camera for name in dataset.train)
    for depth in (bounds.min(), bounds.max()):
        point = transform_points(middle.world_from_camera[0], torch.tensor([0.0, 0.0, depth], dtype=torch.float64))
        for camera in (first, last):
            xy, z = project(camera, point)
            assert z > 0 and (xy > 0).all() and (xy < torch.tensor([504, 378])).all()


def test_fern_copies_of_both_sizes_show_the_same(real_data):
    """images_8, and images_4 shrunk: the same camera, nearly the same pixels; and K follows the size."""
    eighth, quarter = (read_dataset(real_data / "llff_fern", ReadConfig(downscale=n)) for n in (8, 4))
    assert quarter.downscale.folder == "images_4"
    torch.testing.assert_close(quarter.frames[3].camera.Ks[0, :2], 2 * eighth.frames[3].camera.Ks[0, :2])
    (small,), (large,) = (load_views(d, [d.frames[3].name]) for d in (eighth, quarter))
    shrunk = torch.nn.functional.avg_pool2d(large.images.movedim(-1, 1), 2).movedim(1, -1)
    assert (shrunk - small.images).abs().mean() < 0.02
    shifted = shrunk.roll(1, dims=2)
    assert (shrunk - small.images).abs().mean() < 0.4 * (shifted - small.images).abs().mean()


def test_fox(real_data):
    dataset = read_dataset(real_data / "fox", ReadConfig(views=9, downscale=2))
    assert dataset.kind == "transforms"
    assert len(dataset.frames) == 50 and len(dataset.skipped) == 17
    assert all("missing" in reason for _, reason in dataset.skipped)
    assert len(dataset.train) == 9 and len(dataset.test) == 7 and not set(dataset.train) & set(dataset.test)
    camera = dataset.frames[0].camera
    assert camera.height > 1.5 * camera.width  # portrait
    # the lens bends the rim by some pixels: cropped on all sides, hardly
    assert 520 < camera.width < 540 and 940 < camera.height < 960
    K, given = camera.Ks[0], dataset.frames[0].source.params
    assert float(K[0, 0]) == pytest.approx(given[0] / 2, rel=2e-3)
    assert dataset.frames[0].source.model == "OPENCV" and dataset.frames[0].loading.pinhole is not None
    names = [f.name for f in dataset.frames]
    check_cameras_fit(dataset, [(names[0], names[1]), (names[10], names[12])])


def test_fox_without_undistortion_fits_worse(real_data):
    """At the picture's rim the lens moves pixels by more than a pixel: there epipolar lines tell."""
    import dataclasses

    dataset = read_dataset(real_data / "fox", ReadConfig(downscale=2))
    pair = [f.name for f in dataset.frames[20:22]]
    undistorted = epipolar_errors(*load_views(dataset, pair))
    as_it_is = []
    for name in pair:
        frame = dataset.frame(name)
        width, height = frame.source.width, frame.source.height
        fx, fy, cx, cy = frame.source.params[:4]
        K = torch.tensor([[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]], dtype=torch.float64)
        cameras = dataclasses.replace(frame.camera, Ks=K, width=width, height=height).resized(width // 2, height // 2)
        plain = dataclasses.replace(frame, camera=cameras, loading=dataclasses.replace(frame.loading, pinhole=None))
        as_it_is += load_views(dataclasses.replace(dataset, frames=(plain,)), [name])
    assert undistorted.median() < 0.9 * epipolar_errors(*as_it_is).median()


def test_kitchen(real_data):
    dataset = read_dataset(real_data / "mip360_kitchen", ReadConfig(views=9))
    assert dataset.kind == "colmap" and len(dataset.frames) == 24
    ((left_out, reason),) = dataset.skipped
    assert left_out not in [f.name for f in dataset.frames] and "not registered" in reason
    # the points project into the photos: all of them before a camera, most of them in its picture
    points = dataset.points
    assert points is not None and len(points) > 1800 and torch.isfinite(points).all()
    for frame in dataset.frames[::6]:
        xy, z = project(frame.camera, points)
        inside = (z > 0) & (xy > 0).all(-1) & (xy < torch.tensor([frame.camera.width, frame.camera.height])).all(-1)
        assert inside.float().mean() > 0.5
    check_cameras_fit(dataset, [("17.png", "18.png"), ("14.png", "21.png"), ("09.png", "11.png")])


def test_fountain(real_data):
    dataset = read_dataset(real_data / "strecha_fountain", ReadConfig(downscale=4))
    assert dataset.kind == "strecha" and dataset.units == "metres" and len(dataset.frames) == 11
    camera = dataset.frames[0].camera
    assert (camera.width, camera.height) == (768, 512)
    torch.testing.assert_close(camera.Ks[0, 0], torch.tensor([2759.48, 0, 1520.69], dtype=torch.float64) / 4)
    steps = torch.cat([f.camera.centers for f in dataset.frames]).diff(dim=0).norm(dim=-1)
    assert 1 < float(steps.median() * dataset.source_from_world[0, 0]) < 3  # the man walked on metre by metre
    check_cameras_fit(dataset, [("0000.jpg", "0001.jpg"), ("0004.jpg", "0006.jpg"), ("0009.jpg", "0010.jpg")])


def test_temple(real_data):
    dataset = read_dataset(real_data / "temple_ring", ReadConfig(views=6, masks="dark"))
    assert dataset.kind == "middlebury-multiview"
    assert len(dataset.frames) == 19 and len(dataset.skipped) == 28
    assert dataset.mask_mode == "transparent"
    for view in load_scene(dataset).views:
        mask, brightest = view.masks[0], view.images[0].amax(-1)
        assert 0.15 < mask.float().mean() < 0.3  # with the cloth that it stands on it would be a half
        assert not mask[:, :80].any() and not mask[:, -40:].any()
        assert (brightest[mask] > 0.15).float().mean() > 0.95 and (brightest[~mask] < 0.25).float().mean() > 0.99
    names = [f.name for f in dataset.frames]
    check_cameras_fit(dataset, [(names[0], names[1]), (names[12], names[13])])


def test_motorcycle():
    dataset = read_dataset("motorcycle")
    check_cameras_fit(dataset, [("motorcycle_left.png", "motorcycle_right.png")])
