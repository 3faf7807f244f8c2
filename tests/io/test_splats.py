"""Splat files: round trips within what each format rounds, axes on real files, broken files."""

import gzip
import struct
import warnings
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from gs_reg.errors import InputError
from gs_reg.geometry import transform_cameras
from gs_reg.io import load_splats, save_splats
from gs_reg.io.frames import flip_axes, sh_rotation, transform_splats
from gs_reg.io.ply import read_header
from gs_reg.render import RenderConfig, render
from gs_reg.rotations import quat_to_rotmat
from gs_reg.types import Cameras, Splats

SUFFIXES = [".ply", ".compressed.ply", ".spz", ".splat"]


def random_splats(n=100, degree=0, seed=0, size=2.0) -> Splats:
    g = torch.Generator().manual_seed(seed)
    quats = torch.nn.functional.normalize(torch.randn(n, 4, generator=g), dim=1)
    means = (torch.rand(n, 3, generator=g) * 2 - 1) * size
    sh = torch.randn(n, (degree + 1) ** 2, 3, generator=g).clamp(-1, 1) * 0.6
    return Splats(means, quats, torch.rand(n, 3, generator=g) * 4 - 5, torch.randn(n, generator=g), sh)


def asymmetric() -> Splats:
    """Three clusters along three axes, of three lengths and colours, of slanted ellipsoids: no mirroring keeps it."""
    s = random_splats(120, degree=1, seed=3, size=0.15)
    offset = torch.tensor([[0.9, 0, 0], [0, 0.6, 0], [0, 0, 0.5]]).repeat(40, 1)
    sh = s.sh * 0.3
    sh[:, 0] = torch.eye(3).repeat(40, 1) * 2.5 - 1.2
    log_scales = torch.tensor([-2.0, -3.5, -4.0]).expand(120, 3).contiguous()
    return Splats(s.means + offset, s.quats, log_scales, s.opacity_logits + 1, sh)


def covariances(s: Splats) -> torch.Tensor:
    half = quat_to_rotmat(s.quats.double()) * s.scales.double()[:, None]
    return half @ half.transpose(1, 2)


def cameras(n=4) -> Cameras:
    angle = torch.arange(n) * 2 * torch.pi / n + 0.3
    z = torch.stack([-angle.sin(), torch.full_like(angle, 0.3), -angle.cos()], 1)
    z = torch.nn.functional.normalize(z, dim=1)
    x = torch.nn.functional.normalize(torch.linalg.cross(torch.tensor([0.0, 1, 0]).expand_as(z), z), dim=1)
    rotation = torch.stack([x, torch.linalg.cross(z, x), z], 1)
    viewmats = torch.eye(4).repeat(n, 1, 1)
    viewmats[:, :3, :3], viewmats[:, 2, 3] = rotation, 4.0
    return Cameras(viewmats, torch.tensor([[60.0, 0, 32], [0, 60, 32], [0, 0, 1]]).repeat(n, 1, 1), 64, 64)


def picture_psnr(a: Splats, b: Splats) -> float:
    pictures = [render(s, cameras()).colors for s in (a, b)]
    return float(-10 * (pictures[0] - pictures[1]).square().mean().log10())


def paired(original: Splats, read: Splats) -> Splats:
    """The rows of `read` in the order of `original`; compressed PLY reorders them."""
    _, rows = cKDTree(read.means).query(original.means)
    assert len(set(rows.tolist())) == len(original)
    return read.rows(torch.from_numpy(rows))


COLUMNS = [*"xyz", *(f"rot_{i}" for i in range(4)), *(f"scale_{i}" for i in range(3)), "opacity"]
COLUMNS += [f"f_dc_{i}" for i in range(3)]


def write_ply(path, table, kind="float", before="", behind="", tail=b""):
    """A PLY with COLUMNS as another program would write it, with header lines and data around the vertices."""
    head = f"ply\nformat binary_little_endian 1.0\n{before}element vertex {len(table)}\n"
    head += "".join(f"property {kind} {name}\n" for name in COLUMNS) + behind + "end_header\n"
    path.write_bytes(head.encode() + table.tobytes() + tail)


def bits(s: Splats) -> bytes:
    return b"".join(x.contiguous().numpy().tobytes() for x in (s.means, s.quats, s.log_scales, s.opacity_logits, s.sh))


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3), st.lists(finite, min_size=59, max_size=59), st.integers(0, 4))
def test_ply_keeps_every_bit(tmp_path_factory, degree, values, n):
    flat = torch.tensor(values, dtype=torch.float32).repeat(n, 1)
    K = (degree + 1) ** 2
    s = Splats(flat[:, :3], flat[:, 3:7], flat[:, 7:10], flat[:, 10], flat[:, 11 : 11 + 3 * K].reshape(n, K, 3))
    path = tmp_path_factory.mktemp("ply") / "a.ply"
    save_splats(path, s)
    assert bits(load_splats(path)) == bits(s)


@pytest.mark.parametrize(("far", "kind", "warned"), [(5411932.0, "f8", True), (40.0, "f8", False), (5e6, "f4", False)])
def test_doubles_that_float32_does_not_hold(tmp_path, caplog, far, kind, warned):
    table = np.random.default_rng(0).normal(size=(50, len(COLUMNS)))
    table[:, 1] += far
    write_ply(tmp_path / "a.ply", table.astype(f"<{kind}"), "double" if kind == "f8" else "float")
    assert len(load_splats(tmp_path / "a.ply")) == 50
    assert any("float32 moves them by up to 0.25" in line for line in caplog.messages) == warned


def test_ply_layout(tmp_path):
    s = random_splats(2, degree=3)
    save_splats(tmp_path / "a.ply", s, render_mode="mip")
    raw = (tmp_path / "a.ply").read_bytes()
    header, data = raw.split(b"end_header\n", 1)
    names = [line.split()[-1].decode() for line in header.splitlines() if line.startswith(b"property")]
    assert len(names) == 62 and names[:9] == ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    assert names[-8:] == ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    row = np.frombuffer(data, "<f4").reshape(2, 62)[1]
    np.testing.assert_array_equal(row[9:54].reshape(3, 15), s.sh[1, 1:].T)  # all red, then green, then blue
    assert read_header(tmp_path / "a.ply").render_mode == "mip"


def test_ply_of_others(tmp_path):
    """59 columns, another order, doubles, big endian, an element before, Postshot's comment."""
    s = random_splats(3)
    names = [
        "rot_0",
        "rot_1",
        "rot_2",
        "rot_3",
        "opacity",
        "scale_0",
        "scale_1",
        "scale_2",
        "f_dc_0",
        "f_dc_1",
        "f_dc_2",
    ]
    table = torch.cat([s.quats, s.opacity_logits[:, None], s.log_scales, s.sh[:, 0], s.means], 1).double().numpy()
    head = "ply\nformat binary_big_endian 1.0\ncomment antialiased 1\nelement other 2\nproperty uchar a\n"
    head += "element vertex 3\n"
    head += "".join(f"property double {name}\n" for name in [*names, "x", "y", "z"]) + "end_header\n"
    (tmp_path / "a.ply").write_bytes(head.encode() + b"\0\0" + table.astype(">f8").tobytes())
    assert bits(load_splats(tmp_path / "a.ply")) == bits(s)
    assert read_header(tmp_path / "a.ply").render_mode == "mip"


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


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_infinite_numbers_of_a_ply(tmp_path, kind):
    """Written by others, so as they are: all opaque, some flat; doubles beyond float32 are infinite there."""
    s = random_splats(3)
    table = torch.cat([s.means, s.quats, s.log_scales, s.opacity_logits[:, None], s.sh[:, 0]], 1).double().numpy()
    table[:, 10], table[1, 9] = (np.inf if kind == "f4" else 1e300), -np.inf
    write_ply(tmp_path / "a.ply", table.astype(f"<{kind}"), "double" if kind == "f8" else "float")
    read = load_splats(tmp_path / "a.ply")
    assert torch.equal(read.opacities, torch.ones(3)) and torch.equal(read.means, s.means)
    assert read.scales[1, 2].square() == 0
    view = cameras(1)
    parameters = [x.clone().requires_grad_() for x in (read.means, read.quats, read.log_scales, read.opacity_logits)]
    colors = render(Splats(*parameters, read.sh), view).colors
    colors.square().sum().backward()
    assert colors.isfinite().all() and all(x.grad.isfinite().all() for x in parameters)


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


def test_space_order_keeps_compressed_positions_fine(tmp_path):
    s = random_splats(100_000)
    save_splats(tmp_path / "a.compressed.ply", s)
    distance, _ = cKDTree(load_splats(tmp_path / "a.compressed.ply").means).query(s.means)
    assert np.median(distance) < 3e-4  # in the given order: 1.1e-3


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
