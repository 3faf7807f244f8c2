"""Splat files of malformed or unusual content: one line with the file's name, no memory by a header's word."""

import gzip
import resource
import struct
import zlib

import numpy as np
import pytest
import torch
import zstandard

from gs_reg.apps import cli
from gs_reg.errors import InputError
from gs_reg.io import load_splats, save_splats
from gs_reg.types import Splats

from .splat_files import bits, random_splats, write_ply

ROWS = np.arange(28, dtype="<f4").reshape(2, 14)
BOUNDS = [f"{m}_{s}{a}" for s in ("", "scale_") for m in ("min", "max") for a in "xyz"]
COLOURS = [f"{m}_{c}" for m in ("min", "max") for c in "rgb"]


def refused(path) -> str:
    """The text of the error, which names the file and is one line."""
    with pytest.raises(InputError) as caught:
        load_splats(path)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text and text.isprintable() and len(text) < 400
    return text


def packed_ply(path, bounds, values, vertices, columns=("position", "rotation", "scale", "color"), line="\n"):
    head = ["ply", "format binary_little_endian 1.0", "comment Zoë", "element chunk 1"]
    head += [f"property float {name}" for name in bounds]
    head += [f"element vertex {len(vertices)}", *(f"property uint packed_{name}" for name in columns), "end_header", ""]
    data = np.array(values, "<f4").tobytes() + np.array(vertices, "<u4").tobytes()
    path.write_bytes(line.join(head).encode() + data)


def test_list_behind_the_vertices(tmp_path):
    face = (b"\x03" + np.arange(3, dtype="<i4").tobytes()) * 2
    behind = "element face 2\nproperty list uchar int vertex_indices\n"
    write_ply(tmp_path / "a.ply", ROWS, behind=behind, tail=face)
    write_ply(tmp_path / "b.ply", ROWS)
    assert bits(load_splats(tmp_path / "a.ply")) == bits(load_splats(tmp_path / "b.ply"))
    # columns around the list and a second element behind it
    more = "property float quality\nelement strip 1\nproperty list int int16 i\nproperty uchar flags\n"
    write_ply(tmp_path / "a.ply", ROWS, behind=behind + more, tail=face + bytes(40))
    assert bits(load_splats(tmp_path / "a.ply")) == bits(load_splats(tmp_path / "b.ply"))
    write_ply(tmp_path / "a.ply", ROWS, behind=behind.replace("2", "9" * 12), tail=face)
    assert "truncated" in refused(tmp_path / "a.ply")
    write_ply(tmp_path / "a.ply", ROWS, before=behind, tail=face)
    assert "lists only behind 'vertex' in a splat PLY, got one in 'face'" in refused(tmp_path / "a.ply")
    write_ply(tmp_path / "a.ply", ROWS, behind="property list uchar int tags\n", tail=bytes(99))
    assert "got one in 'vertex'" in refused(tmp_path / "a.ply")


@pytest.mark.parametrize("content", [b"", b"NGSP", gzip.compress(b"NGSP")], ids=["empty", "raw", "gzip"])
def test_spz_shorter_than_its_header(tmp_path, content):
    (tmp_path / "a.spz").write_bytes(content)
    assert "truncated: expected a header of 16 bytes, got " in refused(tmp_path / "a.spz")


def test_compressed_ply_of_twelve_bounds(tmp_path):
    """The older layout; by hand: bits 11, 10, 11 of the bounds, and 8 bits of a colour each, as it is."""
    path, values = tmp_path / "a.compressed.ply", [0, 0, 0, 1, 2, 4, -5, -5, -5, -3, -3, -3]
    position, scale = 2047 << 21 | 0 << 11 | 1024, 0 << 21 | 1023 << 11 | 2047
    rotation, colour = 512 << 20 | 512 << 10 | 512, 255 << 24 | 51 << 16 | 0 << 8 | 204
    rows = [[position, rotation, scale, colour]] * 2
    packed_ply(path, BOUNDS, values, rows)
    read = load_splats(path)
    torch.testing.assert_close(read.means, torch.tensor([[1, 0, 4 * 1024 / 2047]] * 2))
    torch.testing.assert_close(read.log_scales, torch.tensor([[-5.0, -3, -3]] * 2))
    torch.testing.assert_close(read.sh[:, 0] * 0.28209479 + 0.5, torch.tensor([[1, 0.2, 0]] * 2))
    torch.testing.assert_close(read.opacities, torch.tensor([0.8] * 2))
    assert read.quats[0, 0] > 0.999 and read.sh.shape == (2, 1, 3)
    # the same with bounds of the colours, Windows' lines and the columns in another order
    order = ("color", "scale", "position", "rotation")
    packed_ply(
        path, BOUNDS + COLOURS, [*values, 0, 0, 0, 2, 1, 1], [[colour, scale, position, rotation]] * 2, order, "\r\n"
    )
    again = load_splats(path)
    torch.testing.assert_close(again.sh[:, 0] * 0.28209479 + 0.5, torch.tensor([[2, 0.2, 0]] * 2))
    torch.testing.assert_close(again.means, read.means)
    packed_ply(path, BOUNDS + COLOURS[:3], [*values, 0, 0, 0], rows)
    assert "'max_r'" in refused(path)
    packed_ply(path, BOUNDS[:11], values[:11], rows)
    assert "'max_scale_z'" in refused(path)
    packed_ply(path, BOUNDS, values, [[0, 0, 0]], order[:1] + order[2:])
    refused(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("element vertex 2", "element vertex -2"),
        ("element vertex 2", "element vertex ²"),
        ("element vertex 2", "element vertex " + "9" * 5000),
        ("element vertex 2", "element vertex 2.5"),
        ("element vertex 2", "element vertex"),
        ("element vertex 2", "element vertex 4000000000"),
        ("element vertex 2", "element other 1\nelement vertex 2\nelement vertex 2"),
        ("element vertex 2\n", ""),
        ("element vertex 2\n", "element vertex 2000000000000\nelement other 2\n"),
        ("property float x\n", ""),
        ("property float x\n", "property float y\n"),
        ("property float x\n", "property\n"),
        ("property float x\n", "property float\n"),
        ("property float x\n", "property complex x\n"),
        ("property float x\n", "property list x\n"),
        ("property float x\n", "property list uchar x\n"),
        ("property float x\n", "property float \x1b[31m\x85\n"),
        ("property float x\n", "property float x\nproperty float f_rest_0\n"),
        ("property float x\n", "property float x\n" + "".join(f"property uchar f_rest_{i}\n" for i in range(1, 10))),
        ("binary_little_endian", "ascii"),
        ("binary_little_endian 1.0", ""),
        ("format binary_little_endian 1.0\n", ""),
        ("end_header", "comment end_header"),
        ("end_header", "comment " + "x" * 70_000 + "\nend_header"),
        ("ply\n", "plywood\n"),
    ],
)
def test_headers_that_cannot_be(tmp_path, old, new):
    path = tmp_path / "a.ply"
    write_ply(path, ROWS)
    raw = path.read_bytes()
    assert old.encode() in raw
    path.write_bytes(raw.replace(old.encode(), new.encode("latin-1"), 1))
    refused(path)


def test_comments_do_not_disturb(tmp_path):
    path = tmp_path / "a.ply"
    write_ply(path, ROWS, before="comment Å\u2026 end_header element vertex 9\nobj_info x\n\ncomment\n")
    assert load_splats(path).means[1].tolist() == [14, 15, 16]


def test_compressed_ply_of_nothing_or_nonsense(tmp_path):
    path = tmp_path / "a.compressed.ply"
    save_splats(path, random_splats(300, 1))
    raw = path.read_bytes()
    for old, new in (
        (b"element chunk 2", b"element chunk 1"),
        (b"element sh 300", b"element sh 299"),
        (b"element vertex 300", b"element vertex 600"),
        (b"uint packed_color", b"uint8 packed_color"),
        (b"uint packed_color", b"float packed_color"),
        (b"float min_x", b"int min_x"),
        (b"uchar f_rest_8", b"uchar f_rest_9"),
        (b"property uchar f_rest_8\n", b""),
        (b"property float min_x", b"property list uchar float min_x"),
    ):
        assert old in raw
        path.write_bytes(raw.replace(old, new, 1))
        refused(path)
    # bounds that are not numbers spoil their chunk only
    place = raw.index(b"end_header\n") + len(b"end_header\n")
    path.write_bytes(raw[:place] + struct.pack("<f", float("nan")) + raw[place + 4 :])
    assert len(load_splats(path)) == 300 - 256


def spz_head(count, degree=0, version=3, bits=12, magic=0x5053474E):
    return struct.pack("<IIIBBBB", magic, version, count, degree, bits, 0, 0)


def memory() -> int:
    """The most bytes that the process has held until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def zeros_packed(head: bytes, size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(head), *(packer.compress(bytes(1 << 20)) for _ in range(size >> 20))]
    return b"".join([*parts, packer.compress(bytes(size % (1 << 20))), packer.flush()])


def test_spz_of_malformed_content(tmp_path):
    path = tmp_path / "a.spz"
    body = bytes(20 * 10)
    for head in (
        spz_head(10, degree=4),
        spz_head(10, degree=3),
        spz_head(10, version=1),
        spz_head(10, version=0),
        spz_head(10, version=9),
        spz_head(10, bits=0),
        spz_head(10, bits=255),
        spz_head(11),
        spz_head(2**32 - 1),
        spz_head(10, magic=1),
        b"NGSP",
        b"",
    ):
        path.write_bytes(gzip.compress(head + (body if len(head) == 16 else b"")))
        refused(path)
        path.write_bytes(head + body)
        refused(path)
    good = gzip.compress(spz_head(10) + body)
    path.write_bytes(good)
    assert len(load_splats(path)) == 10
    path.write_bytes(good[:-8] + b"\0" * 8)  # the checksum
    refused(path)


def test_spz_whose_small_file_promises_gigabytes(tmp_path):
    """A count that agrees with what unpacks, and a second gzip behind the first."""
    path, before = tmp_path / "a.spz", memory()
    path.write_bytes(zeros_packed(spz_head(20_000_000), 400_000_000))
    assert "cannot hold the 20000000 splats" in refused(path)
    path.write_bytes(gzip.compress(spz_head(10) + bytes(200)) + zeros_packed(b"", 400_000_000))
    assert "expected 216 bytes" in refused(path)
    assert memory() - before < 100e6


def test_spz_4_whose_streams_promise_gigabytes(tmp_path):
    path = tmp_path / "a.spz"
    save_splats(path, random_splats(50, 1))
    raw, before = path.read_bytes(), memory()
    offset, packed = 32 + 16 * 6, struct.unpack_from("<Q", raw, 32)[0]
    assert zstandard.frame_content_size(raw[offset : offset + packed]) == 450
    # a frame whose own header says 3 GB: magic, descriptor of an 8-byte size in a single segment
    bomb = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 3 << 30)
    path.write_bytes(raw[:offset] + bomb + raw[offset + len(bomb) :])
    assert "stream 0 does not hold the 450 bytes" in refused(path)
    for place, value in ((15, b"\x05"), (16, b"\xff\xff\xff\xff"), (32, b"\xff" * 8), (40, b"\xff" * 8)):
        path.write_bytes(raw[:place] + value + raw[place + len(value) :])
        refused(path)
    assert memory() - before < 100e6


@pytest.mark.parametrize("suffix", [".ply", ".compressed.ply", "3.spz", "4.spz", ".splat"])
def test_mutated_files(tmp_path, suffix):
    """Bytes changed, cut out or doubled: read or refused in one line, never another error."""
    path, generator = tmp_path / f"a{suffix}", np.random.default_rng(5)
    save_splats(path, random_splats(40, 1), spz_version=3 if "3" in suffix else 4)
    raw, before, refusals = path.read_bytes(), memory(), 0
    for _ in range(150):
        data, place = bytearray(raw), int(generator.integers(min(len(raw), 900)))
        length = int(generator.integers(1, 9))
        match generator.integers(3):
            case 0:
                data[place : place + length] = generator.bytes(length)
            case 1:
                del data[place : place + length]
            case 2:
                data[place:place] = data[place : place + 30]
        path.write_bytes(data)
        try:
            splats = load_splats(path)
            assert all(x.isfinite().all() for x in (splats.means, splats.log_scales, splats.opacity_logits, splats.sh))
        except InputError as error:
            refusals += 1
            assert str(path) in str(error) and len(str(error).splitlines()) == 1
    assert refusals > 10 and memory() - before < 200e6


def with_harmonics(strength: float, weak_from: int = 1, degree: int = 3) -> Splats:
    """Splats whose SH coefficients above degree 0 are +-strength; those below `weak_from` are +-0.3."""
    s = random_splats(600, degree)
    signs = torch.randn(s.sh[:, 1:].shape, generator=torch.Generator().manual_seed(1)).sign()
    s.sh[:, 1:] = signs * strength
    s.sh[:, 1 : weak_from**2] = signs[:, : weak_from**2 - 1] * 0.3
    return s


@pytest.mark.parametrize(
    ("strength", "weak_from", "kept", "words"),
    [
        (0.0, 1, 0, "degree 1 to 3"),
        (0.004, 1, 0, "degree 1 to 3"),
        (0.004, 2, 1, "degree 2 to 3"),
        (0.004, 3, 2, "degree 3 "),
        (0.05, 1, 3, None),
    ],
)
def test_harmonics_too_weak_for_compressed_ply(tmp_path, caplog, strength, weak_from, kept, words):
    s = with_harmonics(strength, weak_from)
    save_splats(tmp_path / "a.compressed.ply", s)
    assert load_splats(tmp_path / "a.compressed.ply").sh_degree == kept
    if words is None:
        assert not caplog.records
    else:
        assert len(caplog.records) == 1 and words in caplog.text and "left out" in caplog.text


def test_weak_harmonics_of_splats_that_nobody_sees_count_little(tmp_path):
    s = with_harmonics(0.004)
    s.sh[:300, 1:], s.opacity_logits[:300] = 0.02, -20
    save_splats(tmp_path / "a.compressed.ply", s)
    assert load_splats(tmp_path / "a.compressed.ply").sh_degree == 0
    s.opacity_logits[:300] = 20
    s.sh[:300, 1:] = 0.5
    save_splats(tmp_path / "a.compressed.ply", s)
    assert load_splats(tmp_path / "a.compressed.ply").sh_degree == 3


def test_export_of_spz_by_version(tmp_path, capsys):
    save_splats(tmp_path / "a.ply", random_splats(50, 2))
    for flags, magic in (([], b"NGSP"), (["--spz-version", "3"], b"\x1f\x8b"), (["--spz-version", "4"], b"NGSP")):
        words = ["export", str(tmp_path / "a.ply"), "--to", str(tmp_path / "a.spz"), "--overwrite", *flags]
        assert cli.main(words) == 0
        assert (tmp_path / "a.spz").read_bytes().startswith(magic)
        assert len(load_splats(tmp_path / "a.spz")) == 50
    words = ["export", str(tmp_path / "a.ply"), "--to", str(tmp_path / "a.splat"), "--spz-version", "3"]
    assert cli.main(words) == 2
    assert "--spz-version is for .spz only" in capsys.readouterr().err
    assert not (tmp_path / "a.splat").exists()
