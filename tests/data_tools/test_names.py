"""Names in data files: with spaces, backslashes, of another computer, leading out of the data folder."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gs_reg.data_tools.dataset import ReadConfig, load_scene, read_dataset
from gs_reg.errors import InputError
from tests.data_tools import photosets
from tests.data_tools.photosets import shoot

SPACED = ["cam 1 (402).png", "cam 2.png", "b  c.png"]


def names(dataset) -> list[str]:
    return [frame.name for frame in dataset.frames]


def colmap(root, text, rename, drop_points=False):
    """A model whose names went through `rename`; the photos keep theirs."""
    shots = shoot(3)
    photosets.write_old_colmap(root, [replace(s, name=s.name) for s in shots], text=text)
    file = root / "sparse" / "0" / ("images.txt" if text else "images.bin")
    data = file.read_bytes()
    for shot in shots:
        data = data.replace(shot.name.encode(), rename(shot.name).encode())
    file.write_bytes(data)
    return root


@pytest.mark.parametrize("text", [True, False])
def test_colmap_names_with_spaces(tmp_path, text):
    shots = [replace(shot, name=name) for shot, name in zip(shoot(3), SPACED, strict=True)]
    dataset = read_dataset(photosets.write_old_colmap(tmp_path, shots, text=text))
    assert names(dataset) == sorted(SPACED) and not dataset.skipped
    for shot in shots:  # each with its own camera
        center = dataset.source_from_world @ dataset.frame(shot.name).camera.viewmats[0].inverse()[:, 3]
        assert center[:3].numpy() == pytest.approx(shot.world_from_camera[:3, 3], abs=1e-9)


def test_middlebury_names_with_spaces(tmp_path):
    shots = [replace(shot, name=name) for shot, name in zip(shoot(3), ["a 1.png", "b 2.png", "c.png"], strict=True)]
    assert names(read_dataset(photosets.write_temple(tmp_path, shots))) == ["a 1.png", "b 2.png", "c.png"]


@pytest.mark.parametrize("text", [True, False])
def test_colmap_without_points(tmp_path, text):
    root = photosets.write_old_colmap(tmp_path, shoot(3), text=text)
    (root / "sparse" / "0" / f"points3D.{'txt' if text else 'bin'}").unlink()
    dataset = read_dataset(root)
    assert len(dataset.frames) == 3 and dataset.points is None and not dataset.skipped


@pytest.mark.parametrize("text", [True, False])
def test_colmap_backslashes(tmp_path, text):
    root = colmap(tmp_path, text, lambda name: f"sub\\{name}")
    (root / "images").rename(root / "sub")
    (root / "images").mkdir()
    (root / "sub").rename(root / "images" / "sub")
    dataset = read_dataset(root)
    assert names(dataset) == [s.name for s in shoot(3)] and not dataset.skipped


ELSEWHERE = ["D:\\shots\\", "/data/shots/", "../../other/", "..\\", "sub/../../"]


@pytest.mark.parametrize("where", ELSEWHERE)
def test_colmap_names_outside(tmp_path, where):
    root = colmap(tmp_path / "data", True, lambda name: where + name)
    with pytest.raises(InputError, match=r"outside the data folder, or a path of another computer.*--images"):
        read_dataset(root)
    dataset = read_dataset(root, ReadConfig(images=Path("images")))
    assert len(load_scene(dataset)) == 3 and names(dataset) == [s.name for s in shoot(3)]


@pytest.mark.parametrize("where", ELSEWHERE)
def test_transforms_names_outside(tmp_path, where):
    root = photosets.write_transforms(tmp_path / "data", shoot(3))
    content = json.loads((root / "transforms.json").read_text())
    for frame in content["frames"]:
        frame["file_path"] = where + Path(frame["file_path"]).name
    (root / "transforms.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"frame 0: .*outside the data folder, or a path of another.*--images"):
        read_dataset(root)
    assert len(load_scene(read_dataset(root, ReadConfig(images=Path("images"))))) == 3


def test_absolute_names_inside_the_folder(tmp_path):
    root = photosets.write_transforms(tmp_path, shoot(2))
    text = (root / "transforms.json").read_text()
    (root / "transforms.json").write_text(text.replace('"images/', f'"{root}/images/'))
    assert len(load_scene(read_dataset(root))) == 2


def test_middlebury_names_outside(tmp_path):
    root = photosets.write_temple(tmp_path / "data", shoot(2))
    text = (root / "temple_par.txt").read_text()
    (root / "temple_par.txt").write_text(text.replace("shot_", "../data/shot_"))
    with pytest.raises(InputError, match=r"temple_par\.txt: line 2: .*outside the data folder.*--images"):
        read_dataset(root)
    assert len(read_dataset(root, ReadConfig(images=Path(".."))).frames) == 2


def test_two_names_that_end_alike_are_not_one_photo(tmp_path):
    root = photosets.write_transforms(tmp_path, shoot(2))
    text = (root / "transforms.json").read_text()
    text = text.replace("images/shot_00", "/a/shot_00").replace("images/shot_01", "/b/shot_00")
    (root / "transforms.json").write_text(text)
    with pytest.raises(InputError, match=r"a/shot_00\.png and b/shot_00\.png are one photo"):
        read_dataset(root, ReadConfig(images=Path("images")))
