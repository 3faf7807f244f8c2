"""Masks that lie as the photos do: in folders, in `mask`, beside the photos; and folders of masks that fit no photo."""

from dataclasses import replace

import pytest

from gs_reg.data_tools.dataset import ReadConfig, read_dataset
from gs_reg.errors import InputError
from tests.data_tools import photosets
from tests.data_tools.photosets import shoot
from tests.data_tools.test_masks import columns_kept, save_mask


def in_folders(root, names):
    """A COLMAP model of photos in folders below images."""
    shots = [replace(shot, name=name) for shot, name in zip(shoot(len(names)), names, strict=True)]
    for shot in shots:
        (root / "images" / shot.name).parent.mkdir(parents=True, exist_ok=True)
    return photosets.write_old_colmap(root, shots, text=True)


@pytest.mark.parametrize("tail", [".png", ".png.png", ".jpg", ".PNG"])
@pytest.mark.parametrize("folder", ["masks", "mask"])
def test_a_tree_like_that_of_the_photos(tmp_path, folder, tail):
    root = in_folders(tmp_path, ["left/a1.png", "left/a2.png", "right/b1.png"])
    for i, name in enumerate(("left/a1", "left/a2", "right/b1")):
        save_mask(root / folder / f"{name}{tail}", 16 + 8 * i)  # blocks of 8, which JPEG keeps
    dataset = read_dataset(root)
    assert [f.name for f in dataset.frames] == ["a1.png", "a2.png", "b1.png"]
    assert columns_kept(dataset) == [16, 24, 32]
    asked = read_dataset(root, ReadConfig(mask_dir=root / folder))
    assert columns_kept(asked) == [16, 24, 32]


def test_photos_of_one_name_in_two_folders(tmp_path):
    """Each has its own mask; a flat one, which would fit both, is refused with their names."""
    root = in_folders(tmp_path, ["cam0/1.png", "cam1/1.png", "cam1/2.png"])
    save_mask(root / "masks" / "2.png", 30)
    save_mask(root / "masks" / "cam1" / "1.png", 20)
    assert columns_kept(read_dataset(root)) == [None, 20, 30]
    save_mask(root / "masks" / "1.png", 40)
    with pytest.raises(InputError, match=r"masks/1\.png: of cam0/1\.png, or of cam1/1\.png\?.*--masks none"):
        read_dataset(root)
    assert read_dataset(root, ReadConfig(masks="none")).mask_mode == "none"
    save_mask(root / "masks" / "cam0" / "1.png", 10)
    assert columns_kept(read_dataset(root)) == [10, 20, 30]


def test_masks_beside_the_photos_of_a_model_that_was_named(tmp_path):
    """The path is that of the model, two folders below the photos."""
    root = in_folders(tmp_path, ["a/x.png", "b/y.png"])
    save_mask(root / "masks" / "a" / "x.png", 9)
    assert columns_kept(read_dataset(root / "sparse" / "0")) == [9, None]


def test_masks_that_fit_no_photo(tmp_path):
    root = in_folders(tmp_path, ["a/x.png", "b/y.png"])
    for name in ("x_mask.png", "y_mask.png"):
        save_mask(root / "masks" / name, 9)
    dataset = read_dataset(root)
    assert dataset.mask_mode == "none"
    (note,) = [note for note in dataset.notes if "mask" in note]
    assert str(root / "masks") in note and "looked there for NAME.png and NAME.EXT.png, such as a/x.png" in note
    assert not [note for note in read_dataset(root, ReadConfig(masks="none")).notes if "mask" in note]


def test_masks_of_some_photos_name_those_that_fit_none(tmp_path):
    root = in_folders(tmp_path, ["a/x.png", "b/y.png"])
    save_mask(root / "masks" / "x.png", 9)
    assert len([note for note in read_dataset(root).notes if "mask" in note]) == 1
    for name in ("y_mask.png", "b/yy.png", "z.png", "z2.png", "z3.png"):
        save_mask(root / "masks" / name, 9)
    dataset = read_dataset(root)
    assert columns_kept(dataset) == [9, None]
    (note,) = [note for note in dataset.notes if "fit no photo" in note]
    assert f"in {root / 'masks'}: b/yy.png, y_mask.png, z.png and 2 more: call them" in note
    save_mask(root / "masks" / "b" / "y.png", 9)  # every photo has one: the others are no one's loss
    assert not [note for note in read_dataset(root).notes if "fit no photo" in note]


def test_a_mask_outside_the_folder_is_refused(tmp_path):
    root = photosets.write_transforms(tmp_path / "data", shoot(2))
    save_mask(tmp_path / "m.png", 9)
    text = (root / "transforms.json").read_text()
    for outside in ("../m.png", str(tmp_path / "m.png"), "images/../../m.png"):
        (root / "transforms.json").write_text(
            text.replace('"images/shot_00.png"', f'"images/shot_00.png", "mask_path": "{outside}"')
        )
        with pytest.raises(InputError, match=r"the mask of shot_00\.png is outside .*--mask-dir"):
            read_dataset(root)
        assert read_dataset(root, ReadConfig(masks="none")).mask_mode == "none"
