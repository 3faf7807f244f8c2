"""Lens distortion against points whose place is known by formula, written out here without pycolmap."""

import numpy as np
import pytest
from PIL import Image

from gs_reg.data_tools.dataset import ReadConfig, load_views, read_dataset
from gs_reg.data_tools.photos.undistort import TWO_FOCALS, rescaled, sampling_map, to_pinhole
from gs_reg.data_tools.readers.types import SourceCamera
from gs_reg.errors import InputError
from tests.data_tools import photosets
from tests.data_tools.photosets import Shot, shoot

W, H = 96, 72
BARREL = dict(k1=-0.25, k2=0.04, p1=0.004, p2=-0.003)
PINCUSHION = dict(k1=0.2, k2=0.03, p1=-0.002, p2=0.004)
FX, FY, CX, CY = 80.0, 78.0, 50.5, 33.25


def opencv(x, y, k1, k2, p1, p2):
    """Brown's model as OpenCV documents it."""
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2 * r2
    return (
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
    )


def fisheye(x, y, k1, k2, k3, k4):
    """Kannala and Brandt's model as OpenCV documents it."""
    r = np.hypot(x, y)
    t = np.arctan(r)
    bent = t * (1 + k1 * t**2 + k2 * t**4 + k3 * t**6 + k4 * t**8)
    ratio = np.where(r > 1e-9, bent / np.maximum(r, 1e-9), 1.0)
    return x * ratio, y * ratio


def ramp(x, y):
    """A picture whose red and green tell the pixel position at which it is sampled."""
    return np.stack([x / W, y / H, 0 * x], axis=-1)


def write_bent(root, head) -> list[Shot]:
    y, x = np.mgrid[:H, :W] + 0.5
    pixels = (ramp(x, y) * 255).round().astype(np.uint8)
    shots = [Shot(s.name, pixels, s.pose, s.f) for s in shoot(2, W, H)]
    photosets.write_transforms(root, shots, fl_x=FX, fl_y=FY, cx=CX, cy=CY, **head)
    return shots


def check_pixels(view, mask, bend):
    """Every working pixel shows the photo where the formula says."""
    camera = view.cameras
    K = camera.Ks[0].numpy()
    v, u = np.mgrid[: camera.height, : camera.width] + 0.5
    x, y = bend((u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1])
    at = np.stack([x * FX + CX, y * FY + CY], axis=-1)
    inside = ((at > 1) & (at < (W - 1, H - 1))).all(-1)
    expected = ramp(at[..., 0], at[..., 1])
    error = np.abs(view.images[0].numpy() - expected).max(-1)
    assert error[inside & mask].max() < 1.5 / 255  # a third of a pixel: 1 / 255 is 0.38 px across
    return at


@pytest.mark.parametrize("terms", [BARREL, PINCUSHION])
def test_crop_shows_valid_pixels_alone(tmp_path, terms):
    write_bent(tmp_path, {"camera_model": "OPENCV", **terms})
    dataset = read_dataset(tmp_path, ReadConfig(undistort="crop"))
    (view, _) = load_views(dataset, dataset.train)
    assert view.masks is None and dataset.mask_mode == "none"
    np.testing.assert_allclose(view.cameras.Ks[0].diagonal()[:2], [FX, FY])
    at = check_pixels(view, True, lambda x, y: opencv(x, y, **terms))
    assert (at > -0.01).all() and (at < (W + 0.01, H + 0.01)).all()
    # and as large as can be: one pixel more on any side would leave the photo somewhere
    rim = [at[:, 0, 0].min(), at[0, :, 1].min(), W - at[:, -1, 0].max(), H - at[-1, :, 1].max()]
    assert max(rim) < 2.0


@pytest.mark.parametrize("terms", [BARREL, PINCUSHION])
def test_keep_shows_all_of_the_photo_and_masks_the_rest(tmp_path, terms):
    write_bent(tmp_path, {"camera_model": "OPENCV", **terms})
    dataset = read_dataset(tmp_path, ReadConfig(undistort="keep"))
    assert dataset.mask_mode == "ignore" and any("undistortion" in note for note in dataset.notes)
    (view, _) = load_views(dataset, dataset.train)
    mask = view.masks[0].numpy()
    at = check_pixels(view, mask, lambda x, y: opencv(x, y, **terms))
    outside = ((at < -0.5) | (at > (W + 0.5, H + 0.5))).any(-1)
    assert 0.005 < (~mask).mean() < 0.4 and not mask[outside].any()
    assert view.images[0].numpy()[~mask].max() == 0
    # each side of the photo is in the picture
    ends = [at[..., 0][mask].min(), at[..., 1][mask].min(), W - at[..., 0][mask].max(), H - at[..., 1][mask].max()]
    assert max(ends) < 1.5


def test_fisheye(tmp_path):
    terms = dict(k1=0.05, k2=-0.01, k3=0.003, k4=-0.001)
    for head in ({"camera_model": "OPENCV_FISHEYE"}, {"is_fisheye": True}):
        root = tmp_path / str(len(head)) / next(iter(head))
        write_bent(root, {**head, **terms})
        dataset = read_dataset(root)
        (view, _) = load_views(dataset, dataset.train)
        check_pixels(view, True, lambda x, y: fisheye(x, y, **terms))


def test_fields_of_view_beyond_a_pinhole_are_cut():
    """A fisheye of 180 degrees across keeps 113."""
    camera = SourceCamera("OPENCV_FISHEYE", (100.0, 100.0, 157.0, 157.0, 0.0, 0.0, 0.0, 0.0), 314, 314)
    for keep in (False, True):
        pinhole, moves = to_pinhole(camera, keep)
        assert moves and (pinhole.width, pinhole.height) == (300, 300)
        assert (pinhole.cx, pinhole.cy) == (150, 150)
        x, y, seen = sampling_map(camera, pinhole)
        assert seen.all() and np.isfinite(x).all() and np.isfinite(y).all()


def test_distortion_that_folds_is_masked():
    """r (1 - r^2) turns back at r = 0.577: what lies beyond is seen twice by the formula, and by no photo."""
    camera = SourceCamera("SIMPLE_RADIAL", (50.0, 60.0, 45.0, -1.0), 120, 90)
    pinhole, _ = to_pinhole(camera, keep=True)
    _, _, seen = sampling_map(camera, pinhole)
    v, u = np.mgrid[: pinhole.height, : pinhole.width] + 0.5
    r = np.hypot((u - pinhole.cx) / 50, (v - pinhole.cy) / 50)
    assert not seen[r > 0.62].any() and seen[r < 0.5].all()


def test_pinholes_are_not_resampled(tmp_path):
    shots = write_bent(tmp_path, {"camera_model": "OPENCV", "k1": 0.0})
    dataset = read_dataset(tmp_path)
    (view, _) = load_views(dataset, dataset.train)
    assert np.array_equal((view.images[0] * 255).round(), shots[0].pixels)
    assert view.cameras.Ks[0, 0].tolist() == [FX, 0, CX] and view.cameras.Ks[0, 1].tolist() == [0, FY, CY]


def test_undistorted_then_shrunk(tmp_path):
    """K belongs to the working pixels: a ramp tells where each of them lies."""
    write_bent(tmp_path, {"camera_model": "OPENCV", **BARREL})
    dataset = read_dataset(tmp_path, ReadConfig(downscale=2))
    (view, _) = load_views(dataset, dataset.train)
    assert view.cameras.Ks[0, 0, 0] == pytest.approx(FX / 2, rel=0.02)
    check_pixels(view, True, lambda x, y: opencv(x, y, **BARREL))


def test_masks_follow_the_pixels(tmp_path):
    write_bent(tmp_path, {"camera_model": "OPENCV", **BARREL})
    (tmp_path / "masks").mkdir()
    _, x = np.mgrid[:H, :W] + 0.5
    for name in ("shot_00", "shot_01"):
        Image.fromarray(np.where(x > 60, 255, 0).astype(np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    dataset = read_dataset(tmp_path)
    (view, _) = load_views(dataset, dataset.train)
    shown = view.images[0, ..., 0].numpy() * W  # where the photo was sampled
    mask = view.masks[0].numpy()
    assert mask[shown > 61].all() and not mask[shown < 59].any()


@pytest.mark.parametrize("model", TWO_FOCALS)
def test_models_of_one_focal_length_follow_two_ratios(model):
    """A point lands at the same share of width and height after scaling, whatever the two ratios."""
    from gs_reg.data_tools.photos.undistort import colmap_camera

    bent = {3: (), 4: (0.1,), 5: (0.1, -0.05)}
    for count, terms in bent.items():
        camera = SourceCamera(model, (90.0, 55.0, 31.0, *terms), 100, 70)
        try:
            before = colmap_camera(camera)
        except InputError:
            continue  # the model has another number of terms
        scaled = rescaled(camera, 51, 37)
        assert len(scaled.params) > count
        ray = np.array([[0.21, -0.17, 1.0], [-0.3, 0.2, 1.0]])
        ratio = np.array([51 / 100, 37 / 70])
        np.testing.assert_allclose(
            np.asarray(colmap_camera(scaled).img_from_cam(ray)), np.asarray(before.img_from_cam(ray)) * ratio
        )
        return
    raise AssertionError(f"{model}: no number of terms fits")


def test_faults_are_named(tmp_path):
    with pytest.raises(InputError, match="camera model 'WIDE' is unknown"):
        to_pinhole(SourceCamera("WIDE", (1.0,), 9, 9), False)
    with pytest.raises(InputError, match="OPENCV: 3 parameters, expected fx, fy"):
        to_pinhole(SourceCamera("OPENCV", (9.0, 4.0, 4.0), 9, 9), False)
    with pytest.raises(InputError, match=r"leaves .* pixels of 96x72: check its parameters"):
        to_pinhole(SourceCamera("SIMPLE_RADIAL", (20.0, 48.0, 36.0, 3000.0), 96, 72), False)
    write_bent(tmp_path, {"camera_model": "OPENCV", **BARREL})
    with pytest.raises(InputError, match="undistort keep"):
        Image.new("RGBA", (W, H), (9, 9, 9, 200)).save(tmp_path / "images" / "shot_00.png")
        Image.new("RGBA", (W, H), (9, 9, 9, 200)).save(tmp_path / "images" / "shot_01.png")
        read_dataset(tmp_path, ReadConfig(undistort="keep"))
