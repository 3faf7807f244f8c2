"""Which pixels count: where masks are looked up, what they mean, and what they do to pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gs_reg.data_tools.dataset import ReadConfig, load_scene, load_views, read_dataset
from gs_reg.data_tools.photos.masks import dark_background
from gs_reg.errors import InputError
from tests.data_tools import photosets
from tests.data_tools.photosets import shoot

W, H = 48, 36


def save_mask(path, columns: int, size=(W, H)) -> None:
    """White from the left over so many columns."""
    path.parent.mkdir(exist_ok=True, parents=True)
    mask = np.zeros((size[1], size[0]), np.uint8)
    mask[:, :columns] = 255
    Image.fromarray(mask).save(path)


def add_alpha(path, columns: int) -> None:
    picture = Image.open(path).convert("RGB")
    alpha = np.zeros((H, W), np.uint8)
    alpha[:, :columns] = 255
    picture.putalpha(Image.fromarray(alpha))
    picture.save(path)


def columns_kept(dataset) -> list[int | None]:
    out = []
    for view in load_views(dataset, [f.name for f in dataset.frames]):
        mask = None if view.masks is None else view.masks[0].numpy()
        assert mask is None or (mask == mask[0]).all()
        out.append(None if mask is None else int(mask[0].sum()))
    return out


def test_nothing_is_masked_by_itself(tmp_path):
    dataset = read_dataset(photosets.write_llff(tmp_path, shoot(3)))
    assert dataset.mask_mode == "none" and columns_kept(dataset) == [None] * 3
    assert not [note for note in dataset.notes if "mask" in note]


def test_look_up_order(tmp_path):
    """--mask-dir, then the path in transforms.json, alpha, masks/NAME.png, masks/NAME.EXT.png."""
    shots = shoot(4)
    root = photosets.write_transforms(tmp_path, shots)
    names = [s.name for s in shots]
    for name in names[:1]:
        save_mask(root / "masks" / f"{name}.png", 40)
    assert columns_kept(read_dataset(root)) == [40, None, None, None]
    for name in names[:1]:
        save_mask(root / "masks" / name, 30)  # shot_00.png: NAME.png
    assert columns_kept(read_dataset(root)) == [30, None, None, None]
    for name in names[:2]:
        add_alpha(root / "images" / name, 20)
    assert columns_kept(read_dataset(root)) == [20, 20, None, None]
    text = (root / "transforms.json").read_text()
    (root / "transforms.json").write_text(
        text.replace('"images/shot_00.png"', '"images/shot_00.png", "mask_path": "m/a.png"')
    )
    with pytest.raises(InputError, match=r"m.a\.png: the mask of shot_00\.png is missing"):
        read_dataset(root)
    save_mask(root / "m" / "a.png", 10)
    dataset = read_dataset(root)
    assert columns_kept(dataset) == [10, 20, None, None]
    assert any("2 of 4 photos have one" in note for note in dataset.notes)
    save_mask(root / "other" / names[0], 5)
    save_mask(root / "other" / f"{names[3]}.png", 6)
    for asked in (root / "other", "other"):
        config = ReadConfig(mask_dir=type(root)(asked))
        assert columns_kept(read_dataset(root, config)) == [5, None, None, 6]


def test_masks_of_photos_of_another_suffix(tmp_path):
    """IMG.jpg has its mask in IMG.png or IMG.jpg.png."""
    shots = shoot(2)
    root = photosets.write_llff(tmp_path, shots)
    for shot in shots:
        Image.fromarray(shot.pixels).save((root / "images" / shot.name).with_suffix(".jpg"))
        (root / "images" / shot.name).unlink()
    save_mask(root / "masks" / "shot_00.png", 7)
    save_mask(root / "masks" / "shot_01.jpg.png", 9)
    assert columns_kept(read_dataset(root)) == [7, 9]


def test_meaning_is_chosen_aloud(tmp_path):
    """auto: alpha channels are transparent, mask files are ignored pixels; both can be said otherwise."""
    shots = shoot(2)
    root = photosets.write_llff(tmp_path / "alpha", shots)
    for shot in shots:
        add_alpha(root / "images" / shot.name, 20)
    dataset = read_dataset(root)
    assert dataset.mask_mode == "transparent" and any("because of the alpha" in note for note in dataset.notes)
    assert read_dataset(root, ReadConfig(masks="ignore")).mask_mode == "ignore"
    dataset = read_dataset(root, ReadConfig(masks="none"))
    assert dataset.mask_mode == "none" and columns_kept(dataset) == [None, None]
    root = photosets.write_llff(tmp_path / "file", shots)
    save_mask(root / "masks" / shots[0].name, 20)
    dataset = read_dataset(root)
    assert dataset.mask_mode == "ignore" and any("masks: ignore, chosen by auto" in note for note in dataset.notes)
    assert read_dataset(root, ReadConfig(masks="transparent")).mask_mode == "transparent"


def test_invert_and_erode(tmp_path):
    shots = shoot(2)
    root = photosets.write_llff(tmp_path, shots)
    for shot in shots:
        save_mask(root / "masks" / shot.name, 20)
    assert columns_kept(read_dataset(root, ReadConfig(mask_invert=True))) == [28, 28]
    assert columns_kept(read_dataset(root, ReadConfig(mask_erode=3))) == [17, 17]  # the picture's border is no rim
    assert columns_kept(read_dataset(root, ReadConfig(mask_invert=True, mask_erode=2))) == [26, 26]
    with pytest.raises(InputError, match="--mask-erode: expected 0"):
        read_dataset(root, ReadConfig(mask_erode=-1))


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        (dict(mask_invert=True), "--mask-invert"),
        (dict(mask_erode=2), "--mask-erode"),
        (dict(masks="none", mask_invert=True), "--mask-invert"),
        (dict(masks="none", mask_dir=Path("masks")), "--mask-dir"),
        (dict(masks="none", mask_erode=1), "--mask-erode"),
        (dict(masks="dark", mask_invert=True), "--mask-invert"),
        (dict(masks="dark", mask_dir=Path("masks")), "--mask-dir"),
    ],
)
def test_settings_of_masks_without_effect_are_refused(options, flag, tmp_path):
    root = photosets.write_llff(tmp_path, shoot(2))
    with pytest.raises(InputError, match=f"{flag}: no effect"):
        read_dataset(root, ReadConfig(**options))


def test_alpha_channels_are_not_inverted(tmp_path):
    shots = shoot(2)
    root = photosets.write_llff(tmp_path, shots)
    add_alpha(root / "images" / shots[0].name, 20)
    assert columns_kept(read_dataset(root, ReadConfig(mask_erode=2))) == [18, None]
    with pytest.raises(InputError, match="--mask-invert: no effect: the masks are alpha channels"):
        read_dataset(root, ReadConfig(mask_invert=True))


def test_dark_backgrounds_that_no_photo_has(tmp_path):
    shots = shoot(2)
    root = photosets.write_llff(tmp_path, shots)
    for shot, level in zip(shots, (250, 120), strict=True):
        Image.fromarray(np.full((36, 48, 3), level, np.uint8)).save(root / "images" / shot.name)
    with pytest.raises(InputError, match="--masks dark: no effect: no training photo"):
        load_scene(read_dataset(root, ReadConfig(masks="dark")))


def test_coverage_of_training_photos_is_told(tmp_path):
    shots = shoot(4)
    root = photosets.write_llff(tmp_path, shots)
    for shot in shots[:3]:
        save_mask(root / "masks" / shot.name, 12)
    told = read_dataset(root, ReadConfig(test=("0",))).summary()
    assert [photo["coverage"] for photo in told["photos"]] == [None, 0.25, 0.25, None]
    assert told["masks"] == "ignore"


def test_masks_shrink_with_the_photos(tmp_path):
    """A mask may have the size of the photo in use or of the full-size photo."""
    shots = shoot(2)
    root = photosets.write_llff(tmp_path, shots)
    (root / "images_2").mkdir()
    for shot in shots:
        Image.fromarray(shot.pixels).resize((W // 2, H // 2)).save(root / "images_2" / shot.name)
    save_mask(root / "masks" / shots[0].name, 20)
    save_mask(root / "masks" / shots[1].name, 9, size=(W // 2, H // 2))
    assert columns_kept(read_dataset(root, ReadConfig(downscale=2))) == [10, 9]


def test_masks_of_another_size_are_refused(tmp_path):
    shots = shoot(2)
    root = photosets.write_llff(tmp_path, shots)
    save_mask(root / "masks" / shots[1].name, 20, size=(36, 48))
    dataset = read_dataset(root)
    with pytest.raises(InputError, match=r"masks.shot_01\.png: mask of 36x48 pixels for a photo of 48x36"):
        load_views(dataset, [shots[1].name])


def test_masks_that_keep_nothing_are_refused(tmp_path):
    shots = shoot(3)
    root = photosets.write_llff(tmp_path, shots)
    for shot in shots:
        save_mask(root / "masks" / shot.name, 0)
    with pytest.raises(InputError, match="keep no pixel: white = keep"):
        load_scene(read_dataset(root))
    assert load_scene(read_dataset(root, ReadConfig(mask_invert=True))).views[0].masks.all()
    save_mask(root / "masks" / shots[0].name, 5)
    assert len(load_scene(read_dataset(root))) == 3, "an object may be out of one picture"


def test_masks_that_were_asked_for_must_exist(tmp_path):
    root = photosets.write_llff(tmp_path, shoot(2))
    for config in (ReadConfig(masks="ignore"), ReadConfig(mask_dir=tmp_path / "absent")):
        with pytest.raises(InputError, match=r"no masks found: looked for NAME\.png and NAME\.EXT\.png"):
            read_dataset(root, config)


def test_dark_background_by_hand():
    """A disc with a black spot and a large hole that is seen through; a bright speck far off, noise like dark cloth."""
    y, x = np.mgrid[:120, :160] + 0.5
    disc = np.hypot(x - 80, y - 60) < 40
    image = np.random.default_rng(0).random((120, 160, 3)).astype(np.float32) * 0.15
    image[disc] = (0.0, 0.4, 0.1)
    image[np.hypot(x - 65, y - 60) < 3.5] = 0.0
    disc &= np.hypot(x - 90, y - 60) >= 12
    image[np.hypot(x - 90, y - 60) < 12] = 0.0
    image[5:8, 5:8] = 0.9
    mask = dark_background(image)
    assert mask.dtype == np.float32 and set(np.unique(mask)) == {0, 1}
    assert (mask.astype(bool) ^ disc).mean() < 0.01 and mask[60, 65] == 1 and mask[60, 90] == 0
    assert dark_background(np.zeros((9, 12, 3), np.float32)).max() == 0


def test_dark_masks_are_transparent(tmp_path):
    shots = shoot(2)
    root = photosets.write_llff(tmp_path, shots)
    for shot in shots:
        picture = shot.pixels // 2 + 100
        picture[:, 30:] = 3
        Image.fromarray(picture).save(root / "images" / shot.name)
    dataset = read_dataset(root, ReadConfig(masks="dark"))
    assert dataset.mask_mode == "transparent" and any("dark" in note for note in dataset.notes)
    assert columns_kept(dataset) == [30, 30]
