"""Commands on a finished run: eval, render, export."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from gs_reg.apps import cli
from gs_reg.apps.look.scene_file import read_scene, stored_splats
from gs_reg.apps.runs.folder import Run
from gs_reg.io import load_splats
from gs_reg.render import render


@pytest.fixture
def run(finished, tmp_path):
    """A copy that a test may write into."""
    return shutil.copytree(finished.resolve(), tmp_path / "run")


def test_eval_gives_the_figures_again(run, finished, capsys):
    (run / "result.json").unlink()
    assert cli.main(["eval", str(run), "--json"]) == 0
    out, errors = capsys.readouterr()
    result = json.loads((run / "result.json").read_text())
    assert json.loads(out) == result == json.loads((finished / "result.json").read_text())
    assert f"PSNR {result['mean']['psnr']:.2f} dB" in errors


def test_eval_measures_what_was_exported(run):
    before = json.loads((run / "result.json").read_text())["mean"]["psnr"]
    cloud = bytearray((run / "splats.ply").read_bytes())
    body = np.frombuffer(cloud, "<f4", offset=cloud.index(b"end_header\n") + 11).reshape(-1, 26)
    body[:, 6:9] = 0  # all grey
    (run / "splats.ply").write_bytes(cloud)
    assert cli.main(["eval", str(run), "-q"]) == 0
    assert json.loads((run / "result.json").read_text())["mean"]["psnr"] < before - 5


def test_eval_of_a_run_that_gsplat_drew_on_a_gpu(run, finished):
    asked = (run / "config.yaml").read_text()
    assert "backend: auto" in asked
    (run / "config.yaml").write_text(asked.replace("backend: auto", "backend: gsplat"))
    assert cli.main(["eval", str(run), "-q"]) == 0
    assert json.loads((run / "result.json").read_text()) == json.loads((finished / "result.json").read_text())


def test_eval_of_an_unfinished_run(run, capsys):
    (run / "splats.ply").unlink()
    assert cli.main(["eval", str(run)]) == 2
    assert f"finish the run: gs-reg reconstruct --resume --out {run}" in capsys.readouterr().err


def test_render_replaces_nothing_unasked(run, tmp_path, capsys):
    words = ["render", str(run), "--frames", "2", "--path", "interpolate", "--scale", "0.5"]
    first, second = run / "videos" / "path.mp4", run / "videos" / "path-2.mp4"
    before = first.read_bytes()
    assert cli.main(words) == 0 and "path-2.mp4" in capsys.readouterr().err
    assert first.read_bytes() == before and second.stat().st_size > 100
    assert cli.main([*words, "--to", str(second)]) == 2
    assert f"{second}: exists" in capsys.readouterr().err
    for name in ("film", "film.txt"):
        assert cli.main([*words, "--to", str(run / name)]) == 2
        assert "ending in .mp4, .mov, .mkv" in capsys.readouterr().err and not (run / name).exists()
    second.write_bytes(b"")
    assert cli.main([*words, "--to", str(second), "--overwrite"]) == 0 and second.stat().st_size > 100
    second.unlink()
    drawn = (run / "renders" / "test" / "test_00.png").read_bytes()
    pictures = ["render", str(run), "--what", "test", "--scale", "0.5"]
    assert cli.main(pictures) == 0
    assert (run / "renders" / "test-2" / "test_00.png").is_file()
    assert (run / "renders" / "test" / "test_00.png").read_bytes() == drawn
    shutil.rmtree(run / "renders" / "test-2")
    assert cli.main([*pictures, "--to", str(run / "renders" / "test")]) == 2


def test_render_views_and_path(run, tmp_path, capsys):
    assert cli.main(["render", str(run), "--what", "test", "--scale", "2", "--to", str(tmp_path / "views")]) == 0
    picture = Image.open(tmp_path / "views" / "test_00.png")
    assert picture.size == (128, 96)
    stored = Image.open(run / "renders" / "test" / "test_00.png")
    assert np.abs(np.asarray(picture.resize((64, 48)), float) - np.asarray(stored, float)).mean() < 8
    assert np.load(tmp_path / "views" / "test_00_depth.npy").shape == (96, 128)
    assert (
        cli.main(["render", str(run), "--frames", "3", "--path", "interpolate", "--to", str(tmp_path / "a.mp4")]) == 0
    )
    assert (tmp_path / "a.mp4").stat().st_size > 500
    assert "wrote" in capsys.readouterr().err


@pytest.mark.parametrize(("ending", "decibel"), [("ply", 99), ("compressed.ply", 38), ("spz", 38), ("splat", 38)])
def test_export_looks_the_same(run, tmp_path, ending, decibel, capsys):
    target = tmp_path / f"a.{ending}"
    assert cli.main(["export", str(run), "--to", str(target)]) == 0
    assert "9,216 Gaussians" in capsys.readouterr().err
    scene = read_scene(Run(run))
    moved = shutil.copytree(run, tmp_path / "again")
    assert cli.main(["export", str(target), "--to", str(moved / "splats.ply"), "--overwrite", "-q"]) == 0
    pictures = [
        render(stored_splats(Run(folder)), scene.cameras["test_00.png"], backgrounds=scene.background[None]).colors
        for folder in (run, moved)
    ]
    error = (pictures[0] - pictures[1]).square().mean()
    assert error == 0 if decibel == 99 else -10 * error.log10() > decibel


def test_export_in_the_frame_of_training(run, tmp_path, capsys):
    assert cli.main(["export", str(run), "--to", str(tmp_path / "n.ply"), "--frame", "normalised", "-q"]) == 0
    scale = torch.tensor(json.loads((run / "scene.json").read_text())["source_from_world"])
    back = load_splats(tmp_path / "n.ply").means * scale[0, 0] + scale[:3, 3]
    torch.testing.assert_close(back, load_splats(run / "splats.ply").means, rtol=1e-5, atol=1e-5)
    assert cli.main(["export", str(tmp_path / "n.ply"), "--to", str(tmp_path / "m.ply"), "--frame", "normalised"]) == 2
    assert "only a run knows" in capsys.readouterr().err


def test_export_to_a_page(run, tmp_path, capsys):
    assert cli.main(["export", str(run), "--to", str(tmp_path / "a.html")]) == 0
    size = (tmp_path / "a.html").stat().st_size
    assert f"wrote {tmp_path / 'a.html'}: 9,216 Gaussians, {size / 1e6:.1f} MB" in capsys.readouterr().err
    scene = json.loads(re.search(r'id="scene">(.*?)</script>', (tmp_path / "a.html").read_text())[1])
    stored = json.loads((run / "scene.json").read_text())
    assert [camera["name"] for camera in scene["cameras"]] == [*stored["train"], *stored["test"]]
    scale, first = torch.tensor(stored["source_from_world"]), stored["cameras"][stored["train"][0]]
    center = torch.tensor(first["viewmat"]).double().inverse()[:, 3]
    center = scale.double() @ center
    viewmat = torch.tensor(scene["cameras"][0]["viewmat"], dtype=torch.float64).reshape(4, 4)
    torch.testing.assert_close(viewmat @ center, torch.tensor([0, 0, 0, 1.0], dtype=torch.float64), rtol=0, atol=1e-4)
    assert scene["near"] == pytest.approx(0.01 * float(scale[:3, 0].norm()), rel=1e-4)
    assert cli.main(["export", str(run), "--to", str(tmp_path / "n.html"), "--frame", "normalised", "-q"]) == 0
    assert json.loads(re.search(r'id="scene">(.*?)</script>', (tmp_path / "n.html").read_text())[1])["near"] == 0.01


def test_export_refuses(run, tmp_path, capsys):
    for words, text in (
        (["export", str(run), "--to", str(tmp_path / "a.obj")], "a.obj: expected a name ending with one of"),
        (["export", str(run), "--to", str(run / "splats.ply")], "exists; name another file or pass --overwrite"),
        (["export", str(tmp_path / "none"), "--to", str(tmp_path / "a.ply")], "none: no such file or folder"),
        (["render", str(tmp_path)], "not the folder of a run"),
    ):
        assert cli.main(words) == 2
        assert text in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"run"}
