"""Coordinates far from the origin: the normalised world is the same, and files get an offset that people can read."""

import numpy as np
import pytest
import torch

from gs_reg.data_tools.dataset import Dataset, ReadConfig, load_scene, read_dataset
from gs_reg.errors import InputError
from gs_reg.geometry import rounding_offset
from tests.data_tools import photosets
from tests.data_tools.photosets import shoot

UTM = (448251.0, 5411932.0, 512.0)


def moved(shots, offset, scale=1.0):
    """The shots in other coordinates: scaled, then moved."""
    out = []
    for shot in shots:
        pose = shot.pose.copy()
        pose[:3, 3] = scale * pose[:3, 3] - pose[:3, :3] @ np.asarray(offset)
        out.append(photosets.Shot(shot.name, shot.pixels, pose, shot.f))
    return out


def read(tmp_path, shots, writer=photosets.write_transforms) -> Dataset:
    return read_dataset(writer(tmp_path, shots), ReadConfig())


@pytest.mark.parametrize(("far", "scale"), [(UTM, 1.0), ((4181264.25, 0, 0), 1.0), ((448251e3, 5411932e3, 512e3), 1e3)])
def test_the_world_does_not_depend_on_the_place(tmp_path, far, scale):
    near, away = read(tmp_path / "a", shoot(4)), read(tmp_path / "b", moved(shoot(4), far, scale))
    for one, other in zip(near.frames, away.frames, strict=True):
        torch.testing.assert_close(one.camera.viewmats, other.camera.viewmats, rtol=0, atol=1e-7)
    size = float(away.source_from_world[0, 0])
    assert not near.offset.any() and not any("offset" in note for note in near.notes)
    assert (away.offset - torch.tensor(far)).abs().max() < 10 * size
    assert away.offset.tolist() == [round(x, 1) for x in away.offset.tolist()]  # a number that people can add
    assert torch.equal(away.file_from_world[:3, 3], away.source_from_world[:3, 3] - away.offset)
    assert torch.equal(away.file_from_world[:3, :3], away.source_from_world[:3, :3])
    assert any("less the offset" in note and "round positions by up to" in note for note in away.notes)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_unit_alone_needs_no_offset(tmp_path, scale):
    dataset = read(tmp_path, moved(shoot(4), (0, 0, 0), scale))
    assert not dataset.offset.any() and torch.equal(dataset.file_from_world, dataset.source_from_world)


def test_an_axis_that_is_near_keeps_its_coordinates(tmp_path):
    offset = read(tmp_path, moved(shoot(4), (0, 0, 5411932))).offset.tolist()
    assert offset[2] == pytest.approx(5411932, abs=20) and max(map(abs, offset[:2])) < 20
    assert "-0" not in " ".join(map(str, offset)).split()


def test_llff_far_off_is_recentred(tmp_path):
    """Its world is not recentred otherwise, and training is in float32."""
    near = read(tmp_path / "a", shoot(4), photosets.write_llff)
    away = read(tmp_path / "b", moved(shoot(4), UTM), photosets.write_llff)
    assert not near.source_from_world[:3, 3].any()
    assert torch.equal(away.source_from_world[:3, 3], away.offset) and away.offset.any()
    a, b = (torch.cat([f.camera.centers for f in dataset.frames]) for dataset in (near, away))
    torch.testing.assert_close(a - a.mean(0), b - b.mean(0), rtol=0, atol=1e-7)
    assert b.abs().max() < 100
    assert load_scene(away).views[0].cameras.viewmats.dtype == torch.float32


def test_where_doubles_hold_no_parallax_either(tmp_path):
    with pytest.raises(InputError, match="all cameras are at one place"):
        read(tmp_path, moved(shoot(4), (1e11, 0, 0)))


def test_the_offset_by_hand():
    # float32 has 24 bits: half of the last is 1/4 at 2^22
    at = torch.tensor([[2.0**22, 0, 0], [2.0**22, 4, 0]], dtype=torch.float64)
    assert rounding_offset(at, size=1.0, pixel=1.0).tolist() == [0, 0, 0]
    assert rounding_offset(at, size=3.0, pixel=0.99).tolist() == [2**22, 2, 0]
    assert rounding_offset(at + 0.26, size=0.3, pixel=0.9).tolist() == [4194304.3, 2.3, 0.3]
    assert rounding_offset(-at - 37, size=20.0, pixel=0.9).tolist() == [-4194340, -40, -40]


def test_cameras_that_were_rounded_before_they_came(tmp_path):
    """float32 in the source's own file cannot be mended; it is said."""
    tables = photosets.write_llff(tmp_path, moved(shoot(4), UTM)) / "poses_bounds.npy"
    assert not any("warning" in note for note in read_dataset(tmp_path).notes)
    np.save(tables, np.load(tables).astype(np.float32))
    assert any("stores its cameras in 32 bits" in note for note in read_dataset(tmp_path).notes)
    near = photosets.write_llff(tmp_path / "near", shoot(4)) / "poses_bounds.npy"
    np.save(near, np.load(near).astype(np.float32))
    assert not any("32 bits" in note for note in read_dataset(tmp_path / "near").notes)
