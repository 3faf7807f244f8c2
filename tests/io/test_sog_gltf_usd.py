"""SOG, glTF and USD: real scenes, older versions, nodes that turn, and files that are broken in their own ways."""

import io
import json
import struct
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial import cKDTree

from gs_reg.errors import InputError
from gs_reg.io import load_splats, read_tags, save_splats
from gs_reg.io.frames import flip_axes, transform_splats
from gs_reg.io.palette import codebook, palette
from gs_reg.rotations import quat_to_rotmat

from .splat_files import asymmetric, bits, covariances, paired, picture_psnr, random_splats
from .test_malformed import memory, refused

STATED = {
    # positions as a share of the scene's size and in units, f_dc, opacity, covariance as a share of its largest entry
    ".sog": (2e-4, 0, 0.02, 0.0021, 0.06),
    ".glb": (0, 0, 1e-6, 1e-6, 1e-4),
    ".spz": (0, 2**-16, 0.014, 0.0021, 0.07),
}


@pytest.mark.parametrize("suffix", STATED)
@pytest.mark.parametrize("name", ["plant.splat", "biker.spz"])
def test_real_scenes_come_back(real_data, tmp_path, name, suffix):
    s = load_splats(real_data / "gaussians" / name).rows(slice(None, None, 8))
    save_splats(tmp_path / f"a{suffix}", s)
    read = load_splats(tmp_path / f"a{suffix}")
    near, rows = cKDTree(read.means).query(s.means)
    read = read.rows(torch.from_numpy(rows))
    size = float((s.means - s.means.median(0).values).abs().median())
    share, units, colour, opacity, covariance = STATED[suffix]
    assert np.quantile(near, 0.99) <= share * size + units
    for mine, theirs, limit in (
        ((s.sh[:, 0]), read.sh[:, 0], colour),
        (s.opacities, read.opacities, opacity),
        (covariances(s), covariances(read), covariance * covariances(s).amax((1, 2))[:, None, None]),
    ):
        # neighbours at one place may be taken for each other
        assert ((mine - theirs).abs() <= limit + 1e-9).float().mean() > 0.99


def test_sog_rounds_harmonics_little(tmp_path):
    s = random_splats(5000, 3)
    s.sh[:, 1:] = (s.sh[torch.arange(5000) % 500, 1:]) + 0.01 * torch.randn(5000, 15, 3)  # of 500 kinds
    save_splats(tmp_path / "a.sog", s)
    error = (paired(s, load_splats(tmp_path / "a.sog")).sh[:, 1:] - s.sh[:, 1:]).square().mean().sqrt()
    assert error < 0.012 < s.sh[:, 1:].std() / 20


def test_codebook_and_palette():
    book, labels = codebook(torch.tensor([3.0, 1, 1, 2, 3]))
    assert book.tolist() == [1, 2, 3] and labels.tolist() == [2, 0, 0, 1, 2]
    values = torch.cat([torch.randn(20_000, generator=torch.manual_seed(0)), torch.tensor([60.0, -40])])
    book, labels = codebook(values)
    assert len(book) <= 256 and (book[labels.long()] - values).abs()[-2:].max() < 0.5
    assert (book[labels.long()] - values).abs().mean() < 0.02
    rows = torch.randn(5000, 6, generator=torch.manual_seed(1))
    centers, label = palette(rows, 1500)
    assert len(centers) <= 1500 and (centers[label] - rows).square().mean() < 0.35 * rows.square().mean()
    assert torch.equal(palette(rows, 5000)[0], rows)


def test_sog_is_written_to_the_same_bytes(tmp_path):
    for name in ("a.sog", "b.sog"):
        save_splats(tmp_path / name, random_splats(1500, 2))
    assert (tmp_path / "a.sog").read_bytes() == (tmp_path / "b.sog").read_bytes()


def members(path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(path, files, **kwargs) -> None:
    with zipfile.ZipFile(path, "w", **kwargs) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def test_sog_of_version_1(tmp_path):
    """No version and no codebooks: bytes between two ends; opacities as logits."""
    s = asymmetric()
    save_splats(tmp_path / "a.sog", s)
    files = members(tmp_path / "a.sog")
    meta = json.loads(files["meta.json"])
    old = {"means": meta["means"] | {"shape": [120, 3]}, "quats": meta["quats"]}
    old["scales"] = {"mins": [-6, -6, -6], "maxs": [0, 0, 0], "files": ["scales.webp"]}
    old["sh0"] = {"mins": [-2, -2, -2, -8], "maxs": [2, 2, 2, 8], "files": ["sh0.webp"]}
    levels = {"scales.webp": (s.log_scales + 6) / 6, "sh0.webp": (s.sh[:, 0].clamp(-2, 2) + 2) / 4}
    order = cKDTree(load_splats(tmp_path / "a.sog").means).query(s.means)[1]
    for name, level in levels.items():
        with Image.open(io.BytesIO(files[name])) as image:
            pixels = np.asarray(image.convert("RGBA")).copy().reshape(-1, 4)
        pixels[order, :3] = (level * 255).round().numpy()
        pixels[order, 3] = ((s.opacity_logits + 8) / 16 * 255).round().numpy()
        out = io.BytesIO()
        Image.fromarray(pixels.reshape(12, -1, 4)).save(out, "WEBP", lossless=True, exact=True)
        files[name] = out.getvalue()
    files["meta.json"] = json.dumps(old).encode()
    zipped(tmp_path / "a.sog", files)
    read = paired(s, load_splats(tmp_path / "a.sog"))
    assert (read.log_scales - s.log_scales).abs().max() < 0.013
    assert (read.opacity_logits - s.opacity_logits).abs().max() < 0.04
    assert (read.sh[:, 0] - s.sh[:, 0].clamp(-2, 2)).abs().max() < 0.01


def test_sog_of_malformed_content(tmp_path):
    path = tmp_path / "a.sog"
    save_splats(path, random_splats(300, 1))
    files = members(path)
    meta = json.loads(files["meta.json"])
    for change in (
        {"version": 3},
        {"count": 10**9},
        {"count": -1},
        {"count": 301.5},
        {"count": 5000},
        {"means": {}},
        {"scales": {"codebook": "x", "files": ["scales.webp"]}},
        {"shN": meta["shN"] | {"bands": 2}},
        {"shN": meta["shN"] | {"bands": 9}},
        {"quats": {"files": ["../quats.webp"]}},
        {"quats": {"files": ["meta.json"]}},
    ):
        zipped(path, files | {"meta.json": json.dumps(meta | change).encode()})
        refused(path)
    for name in files:
        zipped(path, {other: data for other, data in files.items() if other != name})
        refused(path)
    # labels beyond the palette
    zipped(path, files | {"shN_labels.webp": files["means_l.webp"]})
    assert "of a palette of" in refused(path)


def test_sog_that_unpacks_to_gigabytes(tmp_path):
    path = tmp_path / "a.sog"
    save_splats(path, random_splats(300))
    files, before = members(path), memory()
    zipped(path, files | {"quats.webp": bytes(300 << 20)}, compression=zipfile.ZIP_DEFLATED)
    assert "unpack to far more" in refused(path)
    out = io.BytesIO()
    Image.new("RGBA", (9000, 9000)).save(out, "WEBP", lossless=True)
    held = memory()
    zipped(path, files | {"quats.webp": out.getvalue()})
    assert "quats.webp: expected 300 to 66136 pixels, got 9000 x 9000" in refused(path)
    assert memory() - held < 100e6 and held - before < 1e9


def glb_parts(path) -> tuple[dict, bytes]:
    raw = path.read_bytes()
    end = 20 + struct.unpack("<I", raw[12:16])[0]
    return json.loads(raw[20:end]), raw[end:]


def write_glb(path, document, rest) -> None:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    path.write_bytes(
        struct.pack("<IIIII", 0x46546C67, 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A) + text + rest
    )


def test_glb_keeps_floats(tmp_path):
    s = random_splats(100, 3)
    save_splats(tmp_path / "a.glb", s)
    read = load_splats(tmp_path / "a.glb")
    assert torch.equal(read.means, s.means) and torch.equal(read.sh, s.sh)
    assert (read.log_scales - s.log_scales).abs().max() < 1e-6
    assert (read.opacity_logits - s.opacity_logits).abs().max() < 1e-5


def test_glb_with_nodes(tmp_path):
    """Two nodes show the splats, one below a parent that turns, scales and moves."""
    s = asymmetric()
    path = tmp_path / "a.glb"
    save_splats(path, s)
    document, rest = glb_parts(path)
    quat = torch.tensor([0.5, 0.5, -0.5, 0.5], dtype=torch.float64)  # w, x, y, z
    document["nodes"] = [{"mesh": 0}, {"children": [2], "rotation": [0.5, -0.5, 0.5, 0.5], "translation": [1, 2, 3]}]
    document["nodes"] += [{"mesh": 0, "scale": [2, 2, 2]}]
    write_glb(path, document, rest)
    read = load_splats(path)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3], matrix[:3, 3] = 2 * quat_to_rotmat(quat), torch.tensor([1.0, 2, 3])
    axes = (-1, -1, 1)
    expected = flip_axes(axes, transform_splats(matrix, flip_axes(axes, s)))
    assert picture_psnr(s, read.rows(slice(0, 120))) > 60
    torch.testing.assert_close(read.means[120:], expected.means, rtol=0, atol=1e-5)
    assert picture_psnr(expected, read.rows(slice(120, 240))) > 60
    document["nodes"][2]["scale"] = [2, 2, 1]
    write_glb(path, document, rest)
    refused(path)


def test_glb_of_malformed_content(tmp_path):
    path = tmp_path / "a.glb"
    save_splats(path, random_splats(30, 1))
    document, rest = glb_parts(path)
    for way, value in (
        (("accessors", 0, "count"), 31),
        (("accessors", 0, "count"), 10**12),
        (("accessors", 0, "count"), 0),
        (("accessors", 2, "type"), "VEC3"),
        (("accessors", 3, "componentType"), 7),
        (("accessors", 3, "bufferView"), 99),
        (("bufferViews", 3, "byteOffset"), -4),
        (("bufferViews", 3, "byteStride"), 1),
        (("bufferViews", 3, "byteStride"), 10**12),
        (("buffers", 0, "uri"), "../secret.bin"),
        (("meshes", 0, "primitives", 0, "extensions"), {}),
        (("meshes", 0, "primitives", 0, "attributes"), {}),
        (("nodes", 0, "children"), [0]),
        (("nodes", 0, "translation"), [float("nan"), 0, 0]),
    ):
        changed = json.loads(json.dumps(document))
        place = changed
        for key in way[:-1]:
            place = place[key]
        place[way[-1]] = value
        write_glb(path, changed, rest)
        refused(path)
    write_glb(path, document | {"asset": {"extras": {"offset": [1, "x", 3]}}}, rest)
    with pytest.raises(InputError, match="three finite numbers"):
        read_tags(path)


def test_usd_holds_what_was_written(tmp_path):
    Usd = pytest.importorskip("pxr.Usd", reason="needs usd-core")
    s = random_splats(50, 2)
    for suffix in (".usdz", ".usdc", ".usda", ".usd"):
        save_splats(tmp_path / f"a{suffix}", s, offset=(1e6, 2, 3))
        stage = Usd.Stage.Open(str(tmp_path / f"a{suffix}"))
        prim = stage.GetDefaultPrim()
        assert prim.GetTypeName() == "ParticleField3DGaussianSplat"
        values = {name: prim.GetAttribute(name).Get() for name in prim.GetPropertyNames() if prim.GetAttribute(name)}
        means = torch.from_numpy(np.array(values["positions"])) * torch.tensor([1, -1, -1])
        assert torch.equal(means, s.means)
        assert np.allclose(values["scales"], s.scales) and np.allclose(values["opacities"], s.opacities)
        assert values["radiance:sphericalHarmonicsDegree"] == 2
        sh = torch.from_numpy(np.array(values["radiance:sphericalHarmonicsCoefficients"])).reshape(50, 9, 3)
        assert torch.equal(sh, flip_axes((1, -1, -1), s).sh)
        turned = torch.tensor([[q.GetReal(), *q.GetImaginary()] for q in values["orientations"]])
        half = quat_to_rotmat(turned) * torch.from_numpy(np.array(values["scales"]))[:, None]
        expected = covariances(flip_axes((1, -1, -1), s)).float()
        torch.testing.assert_close(half @ half.transpose(1, 2), expected, rtol=1e-4, atol=1e-6)
        low, high = map(torch.tensor, map(list, values["extent"]))
        assert (low < means.amin(0)).any() and (high > means.amax(0) * 0).all()
    if suffix == ".usd":
        assert list(stage.GetRootLayer().customLayerData["offset"]) == [1e6, 2, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.usd", "a.usda", "a.usdc", "a.usdz"]
    with pytest.raises(InputError, match="USD is written, not read"):
        load_splats(tmp_path / "a.usdz")


def test_tags_of_every_format(tmp_path):
    s = random_splats(20, 1)
    for suffix in (".ply", ".compressed.ply", ".sog", ".spz", "3.spz"):
        save_splats(tmp_path / f"a{suffix}", s, render_mode="mip", spz_version=3 if "3" in suffix else 4)
        assert read_tags(tmp_path / f"a{suffix}").render_mode == "mip"
        plain = load_splats(tmp_path / f"a{suffix}")
        save_splats(tmp_path / f"b{suffix}", s, spz_version=3 if "3" in suffix else 4)
        assert read_tags(tmp_path / f"b{suffix}").render_mode == "default"
        assert bits(plain) == bits(load_splats(tmp_path / f"b{suffix}"))
