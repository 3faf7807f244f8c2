"""convert and clean: any pair of formats, what is said of them, and what is refused."""

import pytest
import torch

from gs_reg.apps import cli
from gs_reg.io import FORMATS, SUFFIXES, load_splats, read_tags, save_splats
from tests.io.splat_files import asymmetric, bits, picture_psnr, random_splats


def gs_reg(*words) -> int:
    return cli.main([str(word) for word in words])


@pytest.mark.parametrize("before", SUFFIXES)
def test_any_pair_of_formats(tmp_path, before):
    s = asymmetric()
    save_splats(tmp_path / f"a{before}", s)
    read = load_splats(tmp_path / f"a{before}")
    for after in SUFFIXES:
        assert gs_reg("convert", tmp_path / f"a{before}", tmp_path / f"b{after}", "-q") == 0
        assert picture_psnr(read, load_splats(tmp_path / f"b{after}")) > (35 if after != ".splat" else 18)
    assert bits(load_splats(tmp_path / "b.ply")) == bits(read)


def test_what_is_said(tmp_path, capsys):
    save_splats(tmp_path / "a.ply", random_splats(50, 2), render_mode="mip", offset=(1e6, 0, 0))
    for kind in FORMATS:
        if kind.readable:
            assert gs_reg("convert", tmp_path / "a.ply", tmp_path / f"b{kind.suffix}") == 0
            told = capsys.readouterr().err
            assert f"{kind.suffix}: {kind.precision}" in told and "50 Gaussians" in told
            assert ("no place for the offset" in told) == (kind.suffix in (".spz", ".splat"))
            assert ("degrees 1 to 2 are left out" in told) == (kind.suffix == ".splat")
            assert ("cannot say that the splats are 'mip'" in told) == (kind.suffix in (".splat", ".glb"))
            tags = read_tags(tmp_path / f"b{kind.suffix}")
            assert tags.offset == ((1e6, 0, 0) if kind.offset else None)
            assert tags.render_mode == ("mip" if "mip" in kind.render_modes else "default")


def test_degree_and_frame(tmp_path):
    s = random_splats(50, 3)
    save_splats(tmp_path / "a.ply", s, offset=(100, 0, -5))
    assert gs_reg("convert", tmp_path / "a.ply", tmp_path / "b.glb", "--sh-degree", 1, "--frame", "input", "-q") == 0
    read = load_splats(tmp_path / "b.glb")
    assert torch.equal(read.sh, s.sh[:, :4])
    torch.testing.assert_close(read.means, s.means + torch.tensor([100, 0, -5]))


def test_axes_of_spz(tmp_path):
    s = random_splats(50, 1)
    save_splats(tmp_path / "a.ply", s)
    words = "--spz-frame", "raw", "-q"
    assert gs_reg("convert", tmp_path / "a.ply", tmp_path / "raw.spz", "--spz-version", 3, *words) == 0
    turned = load_splats(tmp_path / "raw.spz").means
    assert (turned - s.means * torch.tensor([1, -1, -1])).abs().max() < 1e-4
    assert gs_reg("convert", tmp_path / "raw.spz", tmp_path / "b.ply", *words) == 0
    assert (load_splats(tmp_path / "b.ply").means - s.means).abs().max() < 1e-4


def test_a_run(finished, tmp_path):
    assert gs_reg("convert", finished, tmp_path / "a.sog", "-q") == 0
    assert len(load_splats(tmp_path / "a.sog")) == len(load_splats(finished / "splats.ply"))
    assert gs_reg("convert", finished, tmp_path / "n.ply", "--frame", "normalised", "-q") == 0
    assert not torch.equal(load_splats(tmp_path / "n.ply").means, load_splats(finished / "splats.ply").means)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["convert", "a.ply", "b.obj"], "b.obj: expected a name ending with one of .compressed.ply, .ply"),
        (["convert", "a.ply", "a.ply"], "a.ply: exists; name another file or pass --overwrite"),
        (["convert", "no.ply", "b.spz"], "no.ply: no such file"),
        (["convert", "a.usdz", "b.ply"], "a.usdz: USD is written, not read"),
        (["convert", "a.ply", "b.sog", "--spz-frame", "raw"], "--spz-frame is for .spz only"),
        (
            ["convert", "a.ply", "b.sog", "--sh-degree", "4"],
            "--sh-degree: expected a finite number of at least 0 and at",
        ),
        (["clean", "a.ply"], "OUT is missing"),
        (["clean", "a.ply", "b.ply", "--min-opacity", "2"], "--min-opacity: expected a finite number of at least 0"),
        (["clean", "a.ply", "b.ply", "--crop", "5", "5", "5", "6", "6", "6"], "the rules remove all of it"),
        (
            ["clean", "a.ply", "b.ply", "--crop", "5", "5", "5", "6", "6", "nan"],
            "--crop: expected a finite number, got nan",
        ),
    ],
)
def test_refusals(tmp_path, monkeypatch, capsys, words, text):
    monkeypatch.chdir(tmp_path)
    save_splats("a.ply", random_splats(20))
    (tmp_path / "a.usdz").write_bytes(b"PK")
    assert gs_reg(*words) == 2
    error = capsys.readouterr().err
    assert text in error and len(error.splitlines()) < 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ply", "a.usdz"]


def test_clean(tmp_path, capsys):
    s = random_splats(600, 1, size=1.0)
    s.means[7], s.opacity_logits[30:33] = torch.tensor([300.0, 0, 0]), -9.0
    save_splats(tmp_path / "a.ply", s)
    assert gs_reg("clean", tmp_path / "a.ply", "--dry-run") == 0
    told = capsys.readouterr().err
    assert "opacity: 3 Gaussians of an opacity below 0.005" in told and "isolated: 1 Gaussian " in told
    assert "would keep 596 of 600 Gaussians" in told and "crop" not in told
    assert (
        gs_reg("clean", tmp_path / "a.ply", tmp_path / "b.ply", "--isolated", 0, "--crop", -0.5, -1, -1, 1, 1, 1) == 0
    )
    read = load_splats(tmp_path / "b.ply")
    assert f"kept {len(read)} of 600 Gaussians" in capsys.readouterr().err
    assert 300 < len(read) < 500 and read.means[:, 0].min() >= -0.5


def test_mesh_of_a_run(finished, tmp_path, capsys):
    pytest.importorskip("open3d", reason="meshes need open3d: pip install 'gs-reg[mesh]'")
    words = ["export", str(finished), "--format", "mesh", "--to", str(tmp_path / "mesh.ply")]
    assert cli.main(words) == 0
    import trimesh

    mesh = trimesh.load(tmp_path / "mesh.ply", process=False)
    assert len(mesh.faces) > 500 and "triangles" in capsys.readouterr().err
