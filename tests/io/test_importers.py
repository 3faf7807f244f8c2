"""Three importers agree on our files, and ours on theirs: gsply, splat-transform (where it is found) and ours.

splat-transform 3 is found on the path or by GS_REG_SPLAT_TRANSFORM. Under Node 20 npm installs 2.7 without a word: it
turns the axes of SPZ as we do, and 3.7 does not.
"""

import json
import os
import re
import shutil
import struct
import subprocess

import pytest
import torch

from gs_reg.io import load_splats, save_splats
from gs_reg.io.frames import flip_axes
from gs_reg.io.quantised import from_gsply
from gs_reg.types import Splats

from .splat_files import asymmetric, covariances, paired, picture_psnr, random_splats

FORMATS = [".ply", ".compressed.ply", ".sog", ".splat", ".spz"]


def by_gsply(path) -> Splats:
    """As gsply reads it: in the axes of the file, whatever the format says of them."""
    import gsply

    reader = {".sog": gsply.sogread, ".spz": gsply.read_spz}.get(path.suffix, gsply.plyread)
    return from_gsply(reader(path), path)


@pytest.fixture(scope="session")
def splat_transform():
    program = os.environ.get("GS_REG_SPLAT_TRANSFORM") or shutil.which("splat-transform")
    if program is None:
        pytest.skip("splat-transform is not on the path: npm install @playcanvas/splat-transform")

    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    version = re.search(r"v(\d+)\.\S+", told.stdout + told.stderr)
    if version is None or int(version[1]) < 3:
        found = version[0] if version else "none that says its version"
        pytest.skip(f"splat-transform 3 is wanted, which needs Node 22; {program} is {found}")

    def run(*words) -> str:
        done = subprocess.run([program, "-q", "-g", "cpu", *map(str, words)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def scene(degree=1) -> Splats:
    """The asymmetric scene, with colours of a degree."""
    s = asymmetric()
    more = random_splats(len(s), degree, seed=5).sh * 0.3
    more[:, 0] = s.sh[:, 0]
    return Splats(s.means, s.quats, s.log_scales, s.opacity_logits, more)


def same(a: Splats, b: Splats, decibels=35.0) -> None:
    b = paired(a, b)
    assert picture_psnr(a, b) > decibels
    size = covariances(a).diagonal(dim1=1, dim2=2).amax(1)[:, None, None]
    assert ((covariances(a) - covariances(b)) / size).abs().max() < 0.12


def axes_of(path, s: Splats) -> Splats:
    """SPZ's axes are not turned by the other two: see formats.md."""
    return flip_axes((1, -1, -1), s) if path.suffix == ".spz" else s


@pytest.mark.parametrize("suffix", [f for f in FORMATS if f != ".splat"])
@pytest.mark.parametrize("degree", [0, 3])
def test_gsply_reads_what_we_write(tmp_path, suffix, degree):
    if suffix == ".sog":
        pytest.importorskip("imagecodecs", reason="gsply reads .sog with imagecodecs")
    path, s = tmp_path / f"a{suffix}", scene(degree)
    save_splats(path, s)
    same(load_splats(path), axes_of(path, by_gsply(path)), 50)
    same(s, axes_of(path, by_gsply(path)))


@pytest.mark.parametrize("suffix", FORMATS)
def test_splat_transform_reads_what_we_write(tmp_path, suffix, splat_transform):
    path, s = tmp_path / f"a{suffix}", scene(0 if suffix == ".splat" else 3)
    save_splats(path, s)
    splat_transform(path, tmp_path / "out.ply")
    same(s, axes_of(path, load_splats(tmp_path / "out.ply")))
    told = json.loads(splat_transform(path, "--info", "json", "null"))
    assert str(len(s)) in json.dumps(told)


@pytest.mark.parametrize("suffix", [f for f in FORMATS if f != ".splat"])
def test_we_read_what_splat_transform_writes(tmp_path, suffix, splat_transform):
    path, s = tmp_path / f"a{suffix}", scene(3)
    if suffix == ".sog":  # its palettes begin at 1024 splats
        s = Splats.joined([s] * 10)
    save_splats(tmp_path / "in.ply", s)
    splat_transform(tmp_path / "in.ply", path)
    read = axes_of(path, load_splats(path))
    if suffix == ".sog":
        assert picture_psnr(s, read) > 35
    else:
        same(s, read)


@pytest.mark.parametrize("degree", [0, 2, 3])
def test_glb_is_that_of_splat_transform(tmp_path, degree, splat_transform):
    s = scene(degree)
    save_splats(tmp_path / "in.ply", s)
    save_splats(tmp_path / "ours.glb", s)
    splat_transform(tmp_path / "in.ply", tmp_path / "theirs.glb")
    ours, theirs = (load_splats(tmp_path / name) for name in ("ours.glb", "theirs.glb"))
    assert torch.equal(ours.means, theirs.means)
    torch.testing.assert_close(ours.sh, theirs.sh, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.log_scales, theirs.log_scales, rtol=0, atol=1e-5)
    torch.testing.assert_close(covariances(ours), covariances(theirs), rtol=1e-5, atol=1e-9)
    documents = [json.loads(glb_json(tmp_path / name)) for name in ("ours.glb", "theirs.glb")]
    primitives = [d["meshes"][0]["primitives"][0] for d in documents]
    assert primitives[0]["extensions"] == primitives[1]["extensions"]
    assert primitives[0]["attributes"].keys() == primitives[1]["attributes"].keys()


def glb_json(path) -> bytes:
    raw = path.read_bytes()
    return raw[20 : 20 + struct.unpack("<I", raw[12:16])[0]]
