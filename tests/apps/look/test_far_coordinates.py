"""A run whose coordinates are far from the origin: its files leave an offset out, and everything knows that."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from gs_reg.apps import cli
from gs_reg.apps.look.scene_file import read_scene, stored_splats, write_offset
from gs_reg.apps.look.viewer_layout import cameras_json
from gs_reg.apps.runs.folder import Run
from gs_reg.data_tools.dataset import read_dataset
from gs_reg.io import load_splats, read_offset, save_splats
from gs_reg.types import Splats

FAR = (2.0**23, -(2.0**22), 512.0)
"""float32 holds whole numbers in x, halves in y."""


@pytest.fixture
def near(finished, tmp_path):
    return shutil.copytree(finished.resolve(), tmp_path / "near")


@pytest.fixture
def far(near, tmp_path):
    """The same run of photos that are FAR from the origin."""
    run = shutil.copytree(near, tmp_path / "far")
    scene = json.loads((run / "scene.json").read_text())
    for axis in range(3):
        scene["source_from_world"][axis][3] += FAR[axis]
    (run / "scene.json").write_text(json.dumps(scene | {"frame": "local", "offset": list(FAR)}))
    save_splats(run / "splats.ply", load_splats(run / "splats.ply"), offset=FAR)
    return run


def export(source, to, *words):
    assert cli.main(["export", str(source), "--to", str(to), "--overwrite", *words]) == 0
    return load_splats(to) if to.suffix == ".ply" else None


def test_one_is_one(tmp_path, capsys):
    one = Splats(torch.ones(1, 3), torch.ones(1, 4), torch.ones(1, 3), torch.ones(1), torch.ones(1, 1, 3))
    save_splats(tmp_path / "one.ply", one)
    assert cli.main(["export", str(tmp_path / "one.ply"), "--to", str(tmp_path / "one.splat")]) == 0
    assert "one.splat: 1 Gaussian, 0.0 MB" in capsys.readouterr().err


def test_ordinary_runs_name_no_offset(near):
    assert read_offset(near / "splats.ply") is None
    scene = json.loads((near / "scene.json").read_text())
    assert scene["frame"] == "input" and "offset" not in scene  # nor did runs before there was one
    assert not read_scene(Run(near)).offset.any()
    assert "offset" not in json.loads((near / "result.json").read_text())


def test_eval_and_report(far, near, capsys):
    assert cli.main(["eval", str(far), "-q"]) == 0
    result, before = (json.loads((run / "result.json").read_text()) for run in (far, near))
    assert result["mean"]["psnr"] == pytest.approx(before["mean"]["psnr"], abs=1e-3)
    assert result["offset"] == list(FAR)
    rounding = result["rounding_without_offset"]
    assert 0.5 < rounding["units"] < 0.5590171  # at most half of a step in x and y: hypot(1/2, 1/4)
    page = (far / "report.html").read_text()
    assert "rounding without offset" in page and "8,388,608" in page
    assert rounding["pixels"] == pytest.approx(moved_pixels(far), rel=1e-3) and rounding["pixels"] > 1


def moved_pixels(far) -> float:
    """The mean over the splats in the pictures, in double precision."""
    scene, splats = read_scene(Run(far)), load_splats(far / "splats.ply")
    M = scene.source_from_world.numpy()
    source = splats.means.numpy().astype(float) + FAR
    distances = []
    for name in scene.train:
        camera = scene.cameras[name]
        P = camera.Ks[0].double().numpy() @ camera.viewmats[0, :3].double().numpy() @ np.linalg.inv(M)
        a, b = ((np.c_[x, np.ones(len(x))] @ P.T) for x in (source, source.astype("f4").astype(float)))
        xy, to = a[:, :2] / a[:, 2:], b[:, :2] / b[:, 2:]
        inside = ((xy >= 0) & (xy < (camera.width, camera.height))).all(1) & (a[:, 2] > 0) & (b[:, 2] > 0)
        distances.append(np.linalg.norm(to - xy, axis=1)[inside])
    return float(np.concatenate(distances).mean())


def test_export(far, tmp_path, capsys):
    local = load_splats(far / "splats.ply")
    for source in (far, far / "splats.ply"):
        copy = export(source, tmp_path / "a.ply")
        assert torch.equal(copy.means, local.means) and read_offset(tmp_path / "a.ply") == FAR
        assert "less the offset 8388608 -4194304 512 (--frame input" in capsys.readouterr().err
        moved = export(source, tmp_path / "b.ply", "--frame", "input")
        assert torch.equal(moved.means, (local.means.double() + torch.tensor(FAR, dtype=torch.float64)).float())
        assert torch.equal(moved.log_scales, local.log_scales) and torch.equal(moved.sh, local.sh)
        told = capsys.readouterr().err
        assert re.search(r"splats are moved by up to 0\.5\d units", told) and ("pixels on average" in told) == (
            source == far
        )
    export(far, tmp_path / "a.compressed.ply")
    assert read_offset(tmp_path / "a.compressed.ply") == FAR
    assert (export(tmp_path / "a.compressed.ply", tmp_path / "c.ply").means - local.means).abs().max() < 100
    assert read_offset(tmp_path / "c.ply") == FAR
    normalised = export(far, tmp_path / "n.ply", "--frame", "normalised")
    assert read_offset(tmp_path / "n.ply") is None
    torch.testing.assert_close(normalised.means, stored_splats(Run(far)).means)


@pytest.mark.parametrize(("name", "lost"), [("a.spz", True), ("a.splat", True), ("a.ply", False), ("a.html", False)])
def test_a_format_without_a_place_for_the_offset_says_so(name, lost, far, near, tmp_path, capsys):
    export(far, tmp_path / name)
    assert ("has no place for the offset" in capsys.readouterr().err) == lost
    export(near, tmp_path / name)
    assert "offset" not in capsys.readouterr().err


def test_page(far, near, tmp_path):
    scenes = []
    for run in (far, near):
        export(run, tmp_path / f"{run.name}.html")
        scenes.append(re.search(r'id="scene">(.*?)</script>', (tmp_path / f"{run.name}.html").read_text())[1])
    a, b = map(json.loads, scenes)
    for one, other in zip(a["cameras"], b["cameras"], strict=True):
        assert one["name"] == other["name"]
        np.testing.assert_allclose(one["viewmat"], other["viewmat"], rtol=0, atol=1e-5)
    assert a["near"] == pytest.approx(b["near"])


def test_cameras_lie_where_the_splats_are(far, near):
    for one, other in zip(*(cameras_json(read_scene(Run(run))) for run in (far, near)), strict=True):
        np.testing.assert_allclose(one["position"], other["position"], rtol=0, atol=1e-8)


def test_which_offset_counts(far):
    """An editor drops comments: then it is the run's. A file in the source's frame says that it leaves out nothing."""
    run, world, local = Run(far), stored_splats(Run(far)).means, load_splats(far / "splats.ply")
    save_splats(run.splats, local)
    assert read_offset(run.splats) is None and torch.equal(stored_splats(run).means, world)
    export(far, far / "b.ply", "--frame", "input")
    (far / "b.ply").replace(run.splats)
    assert (stored_splats(run).means - world).norm(dim=1).max() * read_scene(run).source_from_world[0, 0] < 0.56
    # of a run from before there were offsets, resumed, and killed before scene.json was written
    scene = json.loads((far / "scene.json").read_text())
    del scene["offset"]
    (far / "scene.json").write_text(json.dumps(scene | {"frame": "input"}))
    save_splats(run.splats, local, offset=FAR)
    assert torch.equal(stored_splats(run).means, world)


def test_a_run_from_before_offsets_is_brought_up_to_date(near, photos):
    dataset = read_dataset(photos)
    before = (near / "scene.json").read_bytes()
    write_offset(Run(near), dataset)
    assert (near / "scene.json").read_bytes() == before
    offset = torch.tensor(FAR, dtype=torch.float64)
    write_offset(Run(near), replace(dataset, offset=offset))
    assert torch.equal(read_scene(Run(near)).offset, offset)
    assert json.loads((near / "scene.json").read_text())["frame"] == "local"


@pytest.mark.parametrize(
    ("comment", "offset"),
    [
        ("SplatOffset: 448251.3 -5411932 1e3", (448251.3, -5411932.0, 1000.0)),
        ("SplatOffset 1 2 3", (1.0, 2.0, 3.0)),
        ("", None),
    ],
)
def test_the_comment(near, comment, offset):
    raw = (near / "splats.ply").read_bytes()
    (near / "splats.ply").write_bytes(raw.replace(b"element", f"comment {comment}\nelement".encode(), 1))
    assert read_offset(near / "splats.ply") == offset
    assert read_offset(near / "none.ply") is None and read_offset(near / "a.spz") is None


@pytest.mark.parametrize("comment", ["1 2", "1 2 nan", "a b c", "", "1 2 3 4"])
def test_a_comment_that_loses_the_place_is_refused(near, comment, tmp_path, capsys):
    raw = (near / "splats.ply").read_bytes()
    bad = tmp_path / "bad.ply"
    bad.write_bytes(raw.replace(b"element", f"comment SplatOffset: {comment}\nelement".encode(), 1))
    assert cli.main(["export", str(bad), "--to", str(tmp_path / "out.ply")]) == 2
    error = capsys.readouterr().err
    assert "bad.ply" in error and "three finite numbers" in error and not (tmp_path / "out.ply").exists()
