"""The layout of NeuS and IDR: image/000000.png, mask/000.png, cameras_sphere.npz; and files that are no arrays."""

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from gs_reg.data_tools.arrays import read_array, read_arrays
from gs_reg.data_tools.dataset import read_dataset
from gs_reg.errors import InputError
from tests.data_tools import photosets
from tests.data_tools.photosets import shoot
from tests.data_tools.test_masks import columns_kept, save_mask


def matrices(shots) -> dict[str, np.ndarray]:
    """P of any scale and sign, as projections are; 4x4 with a last row of IDR's kind."""
    out = {}
    for i, shot in enumerate(shots):
        P = np.eye(4)
        P[:3] = shot.K @ shot.pose[:3] * (2.5, -0.5, 1, 30)[i % 4]
        out[f"world_mat_{i}"] = P
        out[f"scale_mat_{i}"] = np.diag([3.0, 3.0, 3.0, 1.0])
    return out


def write(root, count=4, table="cameras_sphere.npz", **arrays):
    shots = [replace(shot, name=f"{i:06d}.png") for i, shot in enumerate(shoot(count))]
    photosets.write_photos(root / "image", shots)
    np.savez(root / table, **{**matrices(shots), **arrays})
    return shots


def check_cameras(dataset, shots) -> None:
    for shot in shots:
        frame = dataset.frame(shot.name)
        assert frame.camera.Ks[0].numpy() == pytest.approx(shot.K, abs=1e-9)
        assert frame.camera.viewmats[0, :3, :3].numpy() == pytest.approx(shot.pose[:3, :3], abs=1e-9)
        center = dataset.source_from_world @ frame.camera.viewmats[0].inverse()[:, 3]
        assert center[:3].numpy() == pytest.approx(shot.world_from_camera[:3, 3], abs=1e-8)


@pytest.mark.parametrize("table", ["cameras_sphere.npz", "cameras.npz"])
def test_cameras_and_masks(tmp_path, table):
    shots = write(tmp_path, table=table)
    for i in range(4):
        save_mask(tmp_path / "mask" / f"{i:03d}.png", 10 + i)
    dataset = read_dataset(tmp_path)
    assert dataset.kind == "neus" and len(dataset.frames) == 4 and not dataset.skipped
    check_cameras(dataset, shots)
    assert dataset.mask_mode == "ignore" and columns_kept(dataset) == [10, 11, 12, 13]


def test_a_photo_was_removed(tmp_path):
    """Then matrices and masks go by the number in the name."""
    shots = write(tmp_path)
    (tmp_path / "image" / shots[1].name).unlink()
    for i in range(4):
        save_mask(tmp_path / "mask" / f"{i:03d}.png", 10 + i)
    dataset = read_dataset(tmp_path)
    check_cameras(dataset, [shots[i] for i in (0, 2, 3)])
    assert columns_kept(dataset) == [10, 12, 13]
    (tmp_path / "image" / shots[2].name).rename(tmp_path / "image" / "b.png")
    with pytest.raises(InputError, match=r"cameras_sphere\.npz: 4 matrices for 3 photos whose names are no numbers"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (np.zeros((4, 4)), r"world_mat_2 \(000002\.png\): .* is no projection"),
        (np.full((4, 4), np.nan), "is no projection"),
        (np.eye(3), r"world_mat_2: expected numbers \[4, 4\], got \[3, 3\]"),
        (np.full((4, 4), "x"), r"world_mat_2: expected numbers"),
        (np.array([[50, 9, 24, 0], [0, 50, 18, 0], [0, 0, 1, 1], [0, 0, 0, 1.0]]), "skew of 9"),
    ],
)
def test_matrices_that_are_none(tmp_path, matrix, reason):
    write(tmp_path, world_mat_2=matrix)
    with pytest.raises(InputError, match=rf"cameras_sphere\.npz.*{reason}"):
        read_dataset(tmp_path)


def npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


def broken_files() -> list[bytes]:
    out = io.BytesIO()
    np.savez_compressed(out, world_mat_0=np.arange(16.0).reshape(4, 4))
    archive = out.getvalue()
    flipped = bytearray(archive)
    flipped[70] ^= 0xFF
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as file:
        file.writestr("world_mat_0.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (4, 4000000000), }\n"))
    objects = io.BytesIO()
    np.savez(objects, world_mat_0=np.array([{}], dtype=object))
    with zipfile.ZipFile(other := io.BytesIO(), "w") as archive_of_text:
        archive_of_text.writestr("world_mat_0.npy", b"no array")
    return [
        other.getvalue(),
        b"",
        b"text",
        b"PK\3\4",
        archive[:-30],
        bytes(flipped),
        stored.getvalue(),
        objects.getvalue(),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (4000000000, 400), }\n"),
        npy("{'descr': '<f8', 'fortran_order'"),
        npy("{'descr': 3, 'fortran_order': 7, 'shape': (-1,), }\n"),
        npy("(" * 3000),
    ]


@pytest.mark.parametrize("data", broken_files())
@pytest.mark.parametrize("name", ["cameras_sphere.npz", "a.npy"])
def test_broken_arrays_are_one_line_with_the_name(tmp_path, data, name):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"{name}: ") as caught:
        read_arrays(path) if name.endswith("npz") else read_array(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_arrays_of_the_other_kind(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    np.savez(tmp_path / "b.npz", a=np.zeros(3))
    with pytest.raises(InputError, match=r"a\.npy: a single array: expected an archive"):
        read_arrays(tmp_path / "a.npy")
    with pytest.raises(InputError, match=r"b\.npz: an archive of arrays"):
        read_array(tmp_path / "b.npz")
    assert read_arrays(tmp_path / "b.npz").keys() == {"a"} and read_array(tmp_path / "a.npy").tolist() == [0, 0, 0]
