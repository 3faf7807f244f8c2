"""Folders of plain photos: cameras by pycolmap, EXIF honoured, what was computed kept; on real photos made small."""

import itertools
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from gs_reg.data_tools.dataset import ReadConfig, load_scene, read_dataset
from gs_reg.data_tools.photos import look
from gs_reg.data_tools.readers import plain_photos
from gs_reg.data_tools.readers.plain_photos import _upright_copies, pose_photos
from gs_reg.errors import InputError

ORIENTATION, DETAILS, FOCAL_35MM = 0x0112, 0x8769, 0xA405
NAMES = [f"{i:04d}.jpg" for i in (3, 4, 5, 6)]
WIDTH, HEIGHT = 512, 341


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    tags.get_ifd(DETAILS)[FOCAL_35MM] = 32
    return tags.tobytes()  # Pillow drops the details from a TIFF if it is given the table itself


@pytest.fixture(scope="module")
def fountain(real_data, tmp_path_factory):
    """Four photos of the fountain at 512x341; the second lies on its side and says so, the third is a TIFF."""
    folder = tmp_path_factory.mktemp("fountain")
    for i, name in enumerate(NAMES):
        picture = Image.open(real_data / "strecha_fountain" / "images" / name)
        picture = picture.resize((WIDTH, HEIGHT), Image.Resampling.BOX)
        if i == 1:
            picture = picture.transpose(Image.Transpose.ROTATE_90)
        path = folder / name if i != 2 else (folder / name).with_suffix(".tif")
        picture.save(path, quality=95, exif=exif(6 if i == 1 else 1))
    return folder


@pytest.fixture(scope="module")
def posed(fountain, tmp_path_factory):
    return read_dataset(fountain, ReadConfig(cache_dir=tmp_path_factory.mktemp("cache")))


def test_cameras_are_those_of_the_laser_scan(posed, real_data):
    truth = read_dataset(real_data / "strecha_fountain", ReadConfig(downscale=6))
    assert posed.kind == "photos" and [f.path.name for f in posed.frames] == [*NAMES[:2], "0005.tif", NAMES[3]]
    assert any("4 of 4 photos" in note for note in posed.notes) and not posed.skipped
    poses = [
        (f.camera.viewmats[0], truth.frame(n).camera.viewmats[0]) for f, n in zip(posed.frames, NAMES, strict=True)
    ]
    errors = [note for note in posed.notes if note.startswith("reprojection error ")]
    assert len(errors) == 1 and 0.05 < float(errors[0].split()[2]) < 2 and "points" in errors[0]
    (focals,) = [note for note in posed.notes if note.startswith("focal lengths: ")]
    assert float(focals.split()[2]) == pytest.approx(2759.48 * WIDTH / 3072, rel=0.02)
    assert focals.endswith(" px for 4 photos of 512x341")
    assert not [note for note in posed.notes if "warning" in note]
    for (a, a_true), (b, b_true) in itertools.pairwise(poses):
        relative, expected = (b @ torch.linalg.inv(a))[:3, :3], (b_true @ torch.linalg.inv(a_true))[:3, :3]
        angle = torch.rad2deg(torch.acos(((relative @ expected.T).trace() - 1).div(2).clamp(-1, 1)))
        assert angle < 0.5
    centers, expected = (torch.stack([torch.linalg.inv(p[k])[:3, 3] for p in poses]) for k in (0, 1))
    gaps, true_gaps = torch.pdist(centers), torch.pdist(expected)
    torch.testing.assert_close(gaps / gaps[0], true_gaps / true_gaps[0], rtol=0.03, atol=0)
    for frame in posed.frames:
        assert (frame.camera.width, frame.camera.height) == (WIDTH, HEIGHT)  # upright
        assert float(frame.camera.Ks[0, 0, 0]) == pytest.approx(2759.48 * WIDTH / 3072, rel=0.02)
    assert posed.points is not None and len(posed.points) > 200


def test_photos_are_loaded_upright(posed, real_data):
    scene = load_scene(posed)
    truth = read_dataset(real_data / "strecha_fountain", ReadConfig(downscale=6, train=("3", "4")))
    for view, other in zip(scene.views[:2], load_scene(truth).views, strict=True):
        assert (view.images - other.images[:, :HEIGHT, :WIDTH]).abs().mean() < 0.05


def test_what_was_computed_is_kept(posed, fountain, monkeypatch):
    cache = next(note for note in posed.notes if "kept in" in note).split("kept in ")[1]

    def never(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(plain_photos, "_best_model", never)
    again = read_dataset(fountain, ReadConfig(cache_dir=type(fountain)(cache)))
    for a, b in zip(posed.frames, again.frames, strict=True):
        assert torch.equal(a.camera.viewmats, b.camera.viewmats)
    copy = fountain.parent / "copy"
    shutil.copytree(fountain, copy)
    cameras = fountain.parent / "cameras"
    shutil.copytree(cache, cameras)
    with pytest.raises(AssertionError, match="computed again"):  # other files, by their times
        for photo in copy.iterdir():
            photo.touch()
        read_dataset(copy, ReadConfig(cache_dir=cameras))
    (cameras / "photos.json").write_text("{broken")
    with pytest.raises(AssertionError, match="computed again"):
        read_dataset(fountain, ReadConfig(cache_dir=cameras))


def picture(folder, name: str, orientation: int = 1):
    folder.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / name, exif=exif(orientation))
    return folder / name


@pytest.mark.parametrize(("name", "orientation"), [("a.jpg", 1), ("a.jpg", 6), ("a.tif", 3), ("a.webp", 1)])
def test_copies_for_colmap_are_upright_and_keep_the_focal_length(tmp_path, name, orientation):
    import pycolmap

    photo = picture(tmp_path / "in", name, orientation)
    ((copy, original),) = _upright_copies([photo], tmp_path / "out")[0].items()
    camera = pycolmap.infer_camera_from_image(str(tmp_path / "out" / copy))
    assert original == photo and copy.endswith((".jpg", ".png"))
    assert (camera.width, camera.height) == ((30, 40) if orientation == 6 else (40, 30))
    assert camera.has_prior_focal_length
    assert camera.mean_focal_length() == pytest.approx(32 * np.hypot(40, 30) / np.hypot(36, 24), rel=1e-3)


def test_without_exif_the_focal_length_is_a_guess(tmp_path):
    import pycolmap

    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    (copy,) = _upright_copies([tmp_path / "a.png"], tmp_path / "out")[0]
    assert not pycolmap.infer_camera_from_image(str(tmp_path / "out" / copy)).has_prior_focal_length


def test_broken_photos_are_named_before_the_long_work(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        picture(tmp_path / "in", name)
    path = tmp_path / "in" / "b.jpg"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match=r"b\.jpg: broken picture"):
        read_dataset(tmp_path / "in")


def test_photos_without_texture(tmp_path):
    for i in range(3):
        Image.new("RGB", (64, 48), (40 * i, 90, 90)).save(tmp_path / f"{i}.png")
    with pytest.raises(InputError, match=r"only 0 of 3 photos could be placed: take sharp photos") as caught:
        read_dataset(tmp_path)
    assert "\n" not in str(caught.value) and "0.png: one colour all over: leave it out" in str(caught.value)
    assert sorted(p.name for p in (tmp_path / ".gs-reg" / "sfm").iterdir()) == [], "nothing half-made is kept"


def test_photos_that_are_there_twice_or_of_one_colour(tmp_path):
    """A copy, and one saved again in another format and size, are told from a photo that is only much alike."""
    rng = np.random.default_rng(3)
    coarse = Image.fromarray(rng.integers(40, 200, (6, 8, 3), dtype=np.uint8)).resize(
        (320, 240), Image.Resampling.BICUBIC
    )
    moved = Image.fromarray(np.roll(np.asarray(coarse), 15, axis=1))
    flat = Image.new("RGB", (64, 48), (9, 80, 7))
    again = coarse.resize((160, 120), Image.Resampling.BOX)
    photos = [tmp_path / name for name in ("a.png", "b.png", "c.jpg", "d.png", "e.png")]
    for path, image in zip(photos, (coarse, moved, again, flat, coarse), strict=True):
        image.save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))
    found = look.warnings(photos, [look.thumbnail(np.asarray(Image.open(path))) for path in photos])
    assert found == (
        "c.jpg: the same picture as a.png: leave one out",
        "d.png: one colour all over: leave it out",
        "e.png: the same picture as a.png: leave one out",
    )


def test_a_cache_that_cannot_be_written(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        picture(tmp_path / "in", name)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written: name another folder \(--cache-dir\)"):
        read_dataset(tmp_path / "in", ReadConfig(cache_dir=tmp_path / "file" / "cache"))


@pytest.mark.slow
def test_six_photos_at_768_pixels(real_data, tmp_path):
    """Of a wider arc; the more lenient attempts are there for such sets."""
    for i in range(0, 11, 2):
        picture_ = Image.open(real_data / "strecha_fountain" / "images" / f"{i:04d}.jpg")
        picture_.resize((768, 512), Image.Resampling.BOX).save(tmp_path / f"{i:04d}.jpg", quality=95)
    model = pose_photos(sorted(tmp_path.glob("*.jpg")), tmp_path)
    assert model == tmp_path
    dataset = read_dataset(tmp_path)
    assert len(dataset.frames) == 6 and not dataset.skipped
