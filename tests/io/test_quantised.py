"""Compressed PLY and SPZ: order, bounds, versions, and files that promise too much."""

import gzip
import struct
import warnings
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from gs_reg.errors import InputError
from gs_reg.io import load_splats, save_splats
from tests.io.splat_files import covariances, random_splats


def test_space_order_keeps_compressed_positions_fine(tmp_path):
    s = random_splats(100_000)
    save_splats(tmp_path / "a.compressed.ply", s)
    distance, _ = cKDTree(load_splats(tmp_path / "a.compressed.ply").means).query(s.means)
    assert np.median(distance) < 3e-4  # in the given order: 1.1e-3


@pytest.mark.parametrize(("low", "high"), [(np.inf, np.inf), (-np.inf, np.inf), (np.nan, 0), (-3e38, 3e38)])
def test_bounds_of_a_chunk_that_are_not_finite(tmp_path, caplog, low, high):
    path = tmp_path / "a.compressed.ply"
    save_splats(path, random_splats(300))
    head, data = path.read_bytes().split(b"end_header\n", 1)
    bounds = np.frombuffer(data, "<f4", 2 * 18).reshape(2, 18).copy()
    bounds[0, [0, 3]] = low, high  # of x, of the first 256 splats
    path.write_bytes(head + b"end_header\n" + bounds.tobytes() + data[bounds.nbytes :])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_splats(path)) in (44, 45)  # where the range overflows, one is at its lower end
    assert "of 300 splats with values that are not finite" in caplog.text


def test_biker_in_spz_stands_as_in_compressed_ply(real_data):
    packed = load_splats(real_data / "gaussians" / "biker.compressed.ply")
    spz = load_splats(real_data / "gaussians" / "biker.spz")
    turned = load_splats(real_data / "gaussians" / "biker.spz", spz_frame="raw")
    tree = cKDTree(packed.means)
    near, rows = tree.query(spz.means)
    assert np.quantile(near, 0.99) < 2e-3
    assert np.median(tree.query(turned.means)[0]) > 0.1
    match = packed.rows(torch.from_numpy(rows))
    assert (match.sh - spz.sh).abs().median() < 0.02
    a, b = covariances(match), covariances(spz)
    angle = ((a * b).sum((1, 2)) / (a.norm(dim=(1, 2)) * b.norm(dim=(1, 2)))).median()
    assert angle > 0.98


def test_spz_versions_and_raw_frame(tmp_path):
    s = random_splats(50, 2)
    for version, magic in [(3, b"\x1f\x8b"), (4, b"NGSP")]:
        path = tmp_path / f"{version}.spz"
        save_splats(path, s, spz_version=version)
        assert path.read_bytes().startswith(magic)
        assert (load_splats(path).means - s.means).abs().max() < 3e-5
    raw = load_splats(path, spz_frame="raw")
    assert (raw.means - s.means * torch.tensor([1, -1, -1])).abs().max() < 3e-5
    save_splats(path, s, spz_frame="raw")
    assert (load_splats(path, spz_frame="raw").sh - s.sh).abs().max() < 0.014


@pytest.mark.parametrize(("far", "step"), [(0, None), (2000.0, 2**-12), (4e6, 0.5)])
def test_spz_says_how_far_it_moves_splats_far_from_the_origin(tmp_path, caplog, far, step):
    s = random_splats(100, size=0.5)
    s = replace(s, means=s.means + torch.tensor([far, 0, 0]))
    save_splats(tmp_path / "a.spz", s)
    moved = float((load_splats(tmp_path / "a.spz").means - s.means).abs().max())
    if step is None:
        assert not caplog.records and moved < 1e-5
    else:
        assert f"steps of {step:.2g} units" in caplog.text and f"up to {step / 2:.2g} along each axis" in caplog.text
        assert 0.4 * step < moved <= 0.5 * step


@pytest.mark.parametrize("count", [51, 40_000_000, 4_000_000_000])
def test_oversized_counts_of_spz(tmp_path, count):
    path = tmp_path / "a.spz"
    save_splats(path, random_splats(50), spz_version=3)
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[8:12] = struct.pack("<I", count)
    path.write_bytes(gzip.compress(bytes(raw)))
    with pytest.raises(InputError, match=r"a\.spz"):
        load_splats(path)
    save_splats(path, random_splats(50), spz_version=4)
    raw = bytearray(path.read_bytes())
    raw[8:12] = struct.pack("<I", count)
    path.write_bytes(bytes(raw))
    with pytest.raises(InputError, match=r"a\.spz"):
        load_splats(path)


def test_spz_that_unpacks_to_gigabytes(tmp_path):
    header = struct.pack("<IIIBBBB", 0x5053474E, 3, 10, 0, 12, 0, 0)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    parts = [packer.compress(header), *(packer.compress(zeros) for _ in range(64)), packer.flush()]
    (tmp_path / "a.spz").write_bytes(b"".join(parts))
    with pytest.raises(InputError, match="expected 216 bytes"):
        load_splats(tmp_path / "a.spz")


def test_spz_version_3_of_many(tmp_path):
    """gsply packs over 1 MB in parallel, which must still be one gzip."""
    s = random_splats(60_000, 1)
    save_splats(tmp_path / "a.spz", s, spz_version=3)
    read = load_splats(tmp_path / "a.spz")
    assert (read.means - s.means).abs().max() < 3e-5 and (read.sh - s.sh).abs().max() < 0.014
