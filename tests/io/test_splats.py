"""Splat files: round trips within what each format rounds, axes on real files, broken files."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_reg.errors import InputError
from gs_reg.geometry import transform_cameras
from gs_reg.io import load_splats, save_splats
from gs_reg.io.frames import flip_axes, sh_rotation, transform_splats
from gs_reg.render import RenderConfig, render
from gs_reg.rotations import quat_to_rotmat
from gs_reg.types import Splats
from tests.io.splat_files import SUFFIXES, asymmetric, cameras, covariances, paired, picture_psnr, random_splats


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_that_are_not_finite_are_dropped(tmp_path, suffix, caplog):
    s = random_splats(7)
    s.means[1, 0], s.opacity_logits[3] = float("nan"), float("nan")
    s.means[4, 2], s.log_scales[5, 1] = float("inf"), float("inf")
    save_splats(tmp_path / f"a{suffix}", s)
    assert len(load_splats(tmp_path / f"a{suffix}")) == 3
    assert "dropped 4 of 7" in caplog.text


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_opaque_and_flat_splats_are_kept(tmp_path, suffix, caplog):
    """An infinite logit is an opacity of 1 or 0, a log-scale of minus infinity a size of 0."""
    s = random_splats(6)
    s.opacity_logits[:] = torch.tensor([1.0, 1, 1, -1, -1, 0]) * torch.inf
    s.opacity_logits[5], s.log_scales[0, 2] = 0.3, -torch.inf
    save_splats(tmp_path / f"a{suffix}", s)
    read = paired(s, load_splats(tmp_path / f"a{suffix}"))
    assert not caplog.records
    assert (read.opacities - torch.tensor([1, 1, 1, 0, 0, 0.5744])).abs().max() < 2.1e-3
    assert read.opacity_logits.isfinite().all() and read.log_scales.isfinite().all()
    assert read.scales[0, 2] < 5e-5 and (read.log_scales[1:] - s.log_scales[1:]).abs().max() < 0.04


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip(tmp_path, suffix, degree):
    s = random_splats(1000, degree)
    path = tmp_path / f"a{suffix}"
    save_splats(path, s)
    read = paired(s, load_splats(path))
    assert read.sh_degree == (0 if suffix == ".splat" else degree)
    limits = {
        ".ply": (0, 0, 0),
        ".compressed.ply": (2e-3, 7e-3, 0.017),
        ".spz": (3e-4, 0.014, 0.004),
        ".splat": (0, 0.008, 0.008),
        ".sog": (2e-4, 0.015, 0.01),
        ".glb": (0, 0, 0),
    }
    position, colour, harmonics = limits[suffix]
    assert (read.means - s.means).abs().max() <= position
    assert (read.sh[:, 0] - s.sh[:, 0]).abs().max() <= colour
    if suffix != ".splat" and degree > 0:
        assert (read.sh[:, 1:] - s.sh[:, 1:]).abs().max() <= (harmonics if suffix != ".compressed.ply" else 0.032)
    assert (read.opacities - s.opacities).abs().max() < 0.003
    assert (read.log_scales - s.log_scales).abs().max() < 0.04
    size = covariances(s).diagonal(dim1=1, dim2=2).amax(1)[:, None, None]
    assert ((covariances(read) - covariances(s)) / size).abs().max() < 0.08


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_picture_survives_and_is_not_mirrored(tmp_path, suffix):
    s = asymmetric()
    flat = s if suffix != ".splat" else Splats(s.means, s.quats, s.log_scales, s.opacity_logits, s.sh[:, :1])
    save_splats(tmp_path / f"a{suffix}", flat)
    read = load_splats(tmp_path / f"a{suffix}")
    assert picture_psnr(flat, read) > 38
    for signs in [(1, -1, -1), (-1, 1, -1), (-1, -1, 1)]:
        assert picture_psnr(flat, flip_axes(signs, read)) < 25


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3),
    st.floats(-30, 8, width=32),
    st.floats(-60, 60, width=32),
    st.floats(-20, 20, width=32),
    st.booleans(),
)
def test_extreme_values_come_back_finite(tmp_path_factory, suffix, mean, scale, opacity, colour, zero_quat):
    quat = torch.zeros(1, 4) if zero_quat else torch.tensor([[1e-6, 0, -2e-6, 0]])
    s = Splats(
        torch.tensor([mean]), quat, torch.full((1, 3), scale), torch.tensor([opacity]), torch.full((1, 1, 3), colour)
    )
    path = tmp_path_factory.mktemp("x") / f"a{suffix}"
    save_splats(path, s)
    read = load_splats(path)
    assert len(read) == 1 and torch.isfinite(read.log_scales).all() and torch.isfinite(read.opacity_logits).all()
    torch.testing.assert_close(read.means, s.means, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_many_splats(tmp_path, suffix):
    s = random_splats(100_000)
    save_splats(tmp_path / f"a{suffix}", s)
    read = load_splats(tmp_path / f"a{suffix}")
    assert len(read) == 100_000
    torch.testing.assert_close(read.means.mean(0), s.means.mean(0), rtol=0, atol=1e-4)
    torch.testing.assert_close(read.means.prod(1).mean(), s.means.prod(1).mean(), rtol=0, atol=1e-4)


def test_signs_of_harmonics():
    for signs, text in [((1, -1, -1), "--+-++-+-+--+-+"), ((-1, -1, 1), "-+-+-+-+-+-+-+-")]:
        turn = sh_rotation(torch.diag(torch.tensor(signs, dtype=torch.float64)), 3)
        expected = torch.diag(torch.tensor([1.0] + [1.0 if c == "+" else -1.0 for c in text], dtype=torch.float64))
        torch.testing.assert_close(turn, expected, rtol=0, atol=1e-12)


def test_transform_draws_the_same_picture():
    s = asymmetric().to(dtype=torch.float64)
    axis = torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = 2.5 * quat_to_rotmat(torch.cat([torch.tensor([0.4], dtype=torch.float64), axis]))
    matrix[:3, 3] = torch.tensor([1.0, -2, 0.5])
    view = cameras().to(dtype=torch.float64)
    config = RenderConfig(backend="reference")
    before = render(s, view, config).colors
    after = render(transform_splats(matrix, s), transform_cameras(matrix, view), config).colors
    torch.testing.assert_close(after, before, rtol=0, atol=1e-8)


def test_export_in_the_frame_of_the_source(tmp_path):
    s = random_splats(20, 1)
    matrix = torch.eye(4, dtype=torch.float64) * 3
    matrix[:, 3] = torch.tensor([100.0, 0, -7, 1])
    save_splats(tmp_path / "a.ply", s, source_from_world=matrix)
    read = load_splats(tmp_path / "a.ply")
    torch.testing.assert_close(read.means, s.means * 3 + torch.tensor([100.0, 0, -7]))
    torch.testing.assert_close(read.scales, s.scales * 3)
    assert torch.equal(read.quats, s.quats) and torch.equal(read.sh, s.sh)
    with pytest.raises(ValueError, match="mirroring"):
        save_splats(tmp_path / "b.ply", s, source_from_world=torch.diag(torch.tensor([1.0, 1, -1, 1])))
    assert not (tmp_path / "b.ply").exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    save_splats(path, random_splats(2001, 1))
    raw = path.read_bytes()
    for keep in [0, 1, 3, 17, 200, len(raw) // 2, len(raw) - 5]:
        path.write_bytes(raw[:keep])
        with pytest.raises(InputError, match=f"a{suffix}"):
            load_splats(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_wrong_magic(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    for raw in [b"\x89PNG\r\n\x1a\n" + bytes(1000), np.random.default_rng(0).bytes(32 * 999)]:
        path.write_bytes(raw)
        with pytest.raises(InputError, match=f"a{suffix}"):
            load_splats(path)


def test_oversized_counts(tmp_path):
    ply, packed = tmp_path / "a.ply", tmp_path / "a.compressed.ply"
    save_splats(ply, random_splats(10))
    save_splats(packed, random_splats(10))
    for path in (ply, packed):
        raw = path.read_bytes()
        for count in (b"11", b"9" * 30):
            path.write_bytes(raw.replace(b"element vertex 10", b"element vertex " + count))
            with pytest.raises(InputError, match="truncated"):
                load_splats(path)
    save_splats(packed, random_splats(10))
    packed.write_bytes(packed.read_bytes().replace(b"element vertex 10", b"element vertex 1") + bytes(9999))
    load_splats(packed)
    packed.write_bytes(packed.read_bytes().replace(b"element vertex 1\n", b"element vertex 300\n"))
    with pytest.raises(InputError, match="chunk"):
        load_splats(packed)


def test_clear_refusals(tmp_path):
    with pytest.raises(InputError, match=r"\.compressed\.ply, \.ply, \.spz, \.splat"):
        load_splats(tmp_path / "a.obj")
    with pytest.raises(InputError, match="no such file"):
        load_splats(tmp_path / "a.ply")
    head = "ply\nformat binary_little_endian 1.0\nelement vertex 1\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz") + "end_header\n"
    (tmp_path / "points.ply").write_bytes(head.encode() + bytes(12))
    with pytest.raises(InputError, match=r"f_dc_0.*point cloud"):
        load_splats(tmp_path / "points.ply")
    (tmp_path / "ascii.ply").write_text(head.replace("binary_little_endian", "ascii") + "0 0 0\n")
    with pytest.raises(InputError, match="ASCII"):
        load_splats(tmp_path / "ascii.ply")
    with pytest.raises(InputError, match="degree 0 to 3"):
        save_splats(tmp_path / "b.ply", random_splats(3, 4))
    for suffix in SUFFIXES[1:]:
        with pytest.raises(InputError, match="at least one splat"):
            save_splats(tmp_path / f"c{suffix}", random_splats(0))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ascii.ply", "points.ply"]


def test_plant_round_trip(real_data, tmp_path):
    plant = load_splats(real_data / "gaussians" / "plant.splat")
    assert len(plant) == 113_648
    save_splats(tmp_path / "plant.splat", plant)
    before = np.fromfile(real_data / "gaussians" / "plant.splat", "u1").reshape(-1, 32)
    after = np.fromfile(tmp_path / "plant.splat", "u1").reshape(-1, 32)
    assert (before[:, :12] == after[:, :12]).all()
    sizes = [x[:, 12:24].copy().view("<f4") for x in (before, after)]
    np.testing.assert_allclose(sizes[1], sizes[0], rtol=2e-6)
    assert (before[:, 24:28] == after[:, 24:28]).all()
    assert np.abs(before[:, 28:].astype(int) - after[:, 28:]).max() <= 1
