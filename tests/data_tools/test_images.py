"""Pixels as they are seen: EXIF orientation, depths of grey, other formats; which size is read and how K follows."""

import contextlib
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image

from gs_reg.data_tools.dataset import ReadConfig, load_views, read_dataset
from gs_reg.data_tools.depth.sources.files import FileMaps
from gs_reg.data_tools.photos.images import list_photos, read_header, read_mask, read_pixels, resize_area
from gs_reg.errors import InputError
from gs_reg.types import Cameras, Views
from tests.data_tools import photosets
from tests.data_tools.photosets import shoot

ORIENTATION, FOCAL_35MM = 0x0112, 0xA405
STORED_FROM_UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
"""EXIF 2.3, tag 0112: where row 0 and column 0 of the stored picture lie when seen."""


def save_turned(path, upright: np.ndarray, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(np.ascontiguousarray(STORED_FROM_UPRIGHT[orientation](upright))).save(path, exif=exif)


@pytest.mark.parametrize("orientation", STORED_FROM_UPRIGHT)
def test_exif_orientation(tmp_path, orientation):
    upright = np.random.default_rng(1).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    save_turned(path, upright, orientation)
    header = read_header(path)
    assert header.orientation == orientation and header.size(upright=True) == (8, 5)
    assert header.size(upright=False) == ((8, 5) if orientation < 5 else (5, 8))
    assert np.array_equal(read_pixels(path, upright=True), upright)
    assert np.array_equal(read_pixels(path, upright=False), STORED_FROM_UPRIGHT[orientation](upright))


def test_orientation_follows_the_size_of_the_intrinsics(tmp_path):
    """A camera for 36x48 means the picture as seen, one for 48x36 the picture as stored; both stay consistent."""
    for width, height in ((36, 48), (48, 36)):
        shots = shoot(3, width, height)
        root = photosets.write_transforms(tmp_path / str(width), shots)
        for shot in shots:
            upright = shot.pixels if width == 36 else np.rot90(shot.pixels, -1)
            save_turned(root / "images" / shot.name, upright, 6)
        dataset = read_dataset(root)
        for view, shot in zip(load_views(dataset, [s.name for s in shots]), shots, strict=True):
            assert np.array_equal((view.images[0] * 255).round(), shot.pixels)
            np.testing.assert_allclose(view.cameras.Ks[0], shot.K)


def test_layouts_without_exif_take_pixels_as_stored(tmp_path):
    shots = shoot(3)
    root = photosets.write_llff(tmp_path, shots)
    for shot in shots:
        save_turned(root / "images" / shot.name, np.rot90(shot.pixels, -1), 6)
    for view, shot in zip(load_views(read_dataset(root), [s.name for s in shots]), shots, strict=True):
        assert np.array_equal((view.images[0] * 255).round(), shot.pixels)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_of_sixteen_bits(tmp_path, suffix):
    values = np.arange(0, 65536, 1057, dtype=np.uint16)[:60].reshape(6, 10)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(values).save(path)
    pixels = read_pixels(path, upright=False)
    assert np.array_equal(pixels, np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2))
    assert np.array_equal(read_mask(path, upright=False), (values >> 8).astype(np.float32) / 255)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK"])
def test_modes(tmp_path, mode):
    ramp = Image.fromarray(np.repeat(np.linspace(0, 255, 32).astype(np.uint8)[None], 4, axis=0)).convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    ramp.save(path)
    pixels = read_pixels(path, upright=True)
    assert pixels.shape == (4, 32, 3) and pixels.dtype == np.uint8
    assert pixels[:, 0].max() < 12 and pixels[:, -1].min() > 243
    assert read_header(path).alpha == (mode in ("LA", "RGBA"))


def test_more_pixels_than_pillow_warns_of(tmp_path, recwarn):
    Image.new("1", (10_000, 9_000)).save(tmp_path / "wide.png")
    header = read_header(tmp_path / "wide.png")
    assert (header.width, header.height) == (10_000, 9_000) and not recwarn.list


def test_odd_tags_and_too_many_pixels_for_the_memory(tmp_path, recwarn, monkeypatch):
    path = tmp_path / "odd.tif"
    Image.new("RGB", (4, 3)).save(path)
    data = bytearray(path.read_bytes())
    at = data.index((277).to_bytes(2, "little"))  # samples a pixel: 2**24 of them
    data[at + 4 : at + 8] = (1 << 24).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"odd\.tif: not a picture|odd\.tif: cannot be read"):
        read_pixels(path, upright=True)
    assert not recwarn.list
    Image.new("RGB", (4, 3)).save(tmp_path / "a.png")

    def exhausted(*_):
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", exhausted)
    with pytest.raises(InputError, match=r"a\.png: 4x3 pixels do not fit into the memory"):
        read_pixels(tmp_path / "a.png", upright=True)


def test_heic(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    picture = np.full((48, 64, 3), (200, 60, 90), np.uint8)
    pillow_heif.from_pillow(Image.fromarray(picture)).save(tmp_path / "a.HEIC", quality=95)
    (path,) = list_photos(tmp_path)
    assert read_header(path).size(upright=True) == (64, 48)
    assert np.abs(read_pixels(path, upright=True).astype(int) - picture).max() < 8


def test_list_of_photos(tmp_path):
    for name in ("b.JPG", "a.png", ".hidden.png", "notes.txt", "c.webp"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [p.name for p in list_photos(tmp_path)] == ["a.png", "b.JPG", "c.webp"]
    assert list_photos(tmp_path / "absent") == ()


def test_area_filter():
    image = np.random.default_rng(0).random((6, 8, 3)).astype(np.float32)
    small = resize_area(image, 4, 2)
    np.testing.assert_allclose(small, image.reshape(2, 3, 4, 2, 3).mean((1, 3)), atol=1e-6)


def shrink(root, shots, n: int, size=None) -> None:
    folder = root / f"images_{n}"
    folder.mkdir()
    for shot in shots:
        small = size or (round(shot.size[0] / n), round(shot.size[1] / n))
        Image.new("RGB", small, (n, n, n)).save(folder / shot.name)


def test_stored_copies_are_used_where_they_fit(tmp_path):
    shots = shoot(3)
    root = photosets.write_llff(tmp_path, shots)
    shrink(root, shots, 2)
    shrink(root, shots, 4, size=(13, 8))  # 12x9 would fit
    used = {}
    for asked in (1, 2, 3, 4):
        dataset = read_dataset(root, ReadConfig(downscale=asked))
        (view, *_) = load_views(dataset, dataset.train)
        kept = dataset.downscale.folder == "images"
        assert kept or (view.images[0] * 255).round().unique().tolist() == [2]
        used[asked] = (dataset.downscale.folder, dataset.downscale.resized)
        assert (view.cameras.width, view.cameras.height) == (48 / asked, 36 / asked)
        told = dataset.summary()["downscale"]
        assert (told["folder"], told["resized"], told["factor"]) == (*used[asked], asked)
    assert used == {1: ("images", False), 2: ("images_2", False), 3: ("images_2", True), 4: ("images_2", True)}


def test_focal_and_axes_scale_by_the_true_ratio(tmp_path):
    """50 x 37 at 1/4 is 12 x 9 (from 12.5 x 9.25): K scales by 12/50 and 9/37, each axis by its own."""
    shots = shoot(3, 50, 37)
    root = photosets.write_llff(tmp_path, shots)
    for stored in (False, True):
        if stored:
            shrink(root, shots, 4, size=(12, 9))
        camera = read_dataset(root, ReadConfig(downscale=4)).frames[0].camera
        assert (camera.width, camera.height) == (12, 9)
        expected = np.diag([12 / 50, 9 / 37, 1]) @ shots[0].K
        np.testing.assert_allclose(camera.Ks[0], expected, rtol=1e-12)


def test_copies_without_the_full_size_photos(tmp_path):
    """LLFF sets are often handed on with images_4 alone; --downscale finer than that has no photos."""
    shots = shoot(3, 64, 48)
    root = photosets.write_llff(tmp_path, shots)
    shrink(root, shots, 4)
    for shot in shots:
        (root / "images" / shot.name).unlink()
    (root / "images").rmdir()
    dataset = read_dataset(root)
    assert (dataset.downscale.factor, dataset.downscale.stored) == (4, 4)
    np.testing.assert_allclose(dataset.frames[0].camera.Ks[0], np.diag([0.25, 0.25, 1]) @ shots[0].K)
    with pytest.raises(InputError, match=r"downscale 2: .*images_4: use --downscale 4 or more"):
        read_dataset(root, ReadConfig(downscale=2))


def test_auto_stays_within_1600_pixels(tmp_path):
    shots = [photosets.Shot(s.name, np.zeros((1500, 2000, 3), np.uint8), s.pose, 2000.0) for s in shoot(2)]
    root = photosets.write_llff(tmp_path, shots)
    camera = read_dataset(root).frames[0].camera
    assert (camera.width, camera.height) == (1600, 1200)
    np.testing.assert_allclose(camera.Ks[0].diagonal()[:2], 1600)
    shrink(root, shots, 2)
    dataset = read_dataset(root)
    assert (dataset.downscale.factor, dataset.downscale.folder) == (2, "images_2")
    shots = shoot(2)
    assert read_dataset(photosets.write_llff(tmp_path / "small", shots)).downscale.factor == 1


@pytest.mark.parametrize("asked", [0.5, 0.0, -2.0, float("nan")])
def test_factors_below_one_are_refused(tmp_path, asked):
    root = photosets.write_llff(tmp_path, shoot(2))
    with pytest.raises(InputError, match="downscale: expected auto or a number >= 1"):
        read_dataset(root, ReadConfig(downscale=asked))


def test_photos_of_another_size_than_the_intrinsics(tmp_path):
    """The picture's real size wins, and says so; another shape is an error."""
    shots = shoot(3)
    root = photosets.write_transforms(tmp_path / "a", shots, w=96, h=72, fl_x=100, fl_y=100, cx=48, cy=36)
    dataset = read_dataset(root)
    np.testing.assert_allclose(dataset.frames[0].camera.Ks[0], shots[0].K)
    assert [n for n in dataset.notes if "48x36" in n and "96x72" in n]
    root = photosets.write_transforms(tmp_path / "b", shots, w=96, h=40)
    with pytest.raises(InputError, match=r"shot_00\.png: 48x36 pixels, but .*transforms\.json is for 96x40, another"):
        read_dataset(root)


def test_a_chunk_that_says_it_has_two_gigabytes_takes_no_memory(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.arange(48 * 36, dtype=np.uint8).reshape(36, 48)).save(path)
    raw = path.read_bytes()
    start = raw.index(b"IDAT") - 4
    path.write_bytes(raw[:start] + (2**31 - 1).to_bytes(4, "big") + raw[start + 4 :])
    tracemalloc.start()
    with contextlib.suppress(InputError):
        read_mask(path, upright=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_maps_of_another_shape_are_not_decoded(tmp_path):
    """88 million pixels of one byte each in 0.1 MB: the header is enough."""
    Image.fromarray(np.zeros((2000, 44000), np.uint16)).save(tmp_path / "a.png")
    views = Views(Cameras(torch.eye(4)[None], torch.eye(3)[None], 48, 36), torch.zeros(1, 36, 48, 3), ("a",))
    tracemalloc.start()
    with pytest.raises(InputError, match="44000x2000, but a is in use at 48x36, another shape"):
        FileMaps(str(tmp_path), "metric", png_scale=1.0)(views)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20
