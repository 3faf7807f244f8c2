"""Cases utm and local: coordinates as surveys have them give what small ones give, in all that comes out."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch

from gs_reg.apps import cli
from gs_reg.apps.look.scene_file import read_scene, stored_splats
from gs_reg.apps.runs.folder import Run
from gs_reg.data_tools.dataset import load_views, read_dataset
from gs_reg.io import load_splats, read_offset
from gs_reg.render import render
from gs_reg.types import Views

UTM, LOCAL = (448251.0, 5411932.0, 512.0), (4000.0, -2500.0, 150.0)
CLOSE = 0.2
"""Decibels, as ../shared/cases/README.md asks."""


@dataclass(frozen=True)
class Pair:
    utm: Path
    local: Path
    photo: Views
    """The one that is held out."""
    said: str


@pytest.fixture(scope="module")
def pair(cases, depths, reconstruct) -> Pair:
    import io
    from contextlib import redirect_stderr

    runs, said = {}, io.StringIO()
    for case in ("local", "utm"):
        with redirect_stderr(said):
            runs[case] = reconstruct(case, depths)
    dataset = read_dataset(cases / "utm")
    (photo,) = load_views(dataset, ["002.png"])
    return Pair(runs["utm"], runs["local"], photo, said.getvalue())


def result(run: Path) -> dict:
    return json.loads((run / "result.json").read_text())


def held_out(pair: Pair, run: Path) -> float:
    """PSNR of the held-out photo by the splats.ply of a run."""
    picture = render(
        stored_splats(Run(run)), pair.photo.cameras, backgrounds=read_scene(Run(run)).background[None]
    ).colors
    return float(-10 * (picture.clamp(0, 1) - pair.photo.photos).square().mean().log10())


def test_training_and_eval(pair):
    far, near = (result(run)["mean"]["psnr"] for run in (pair.utm, pair.local))
    assert near > 27 and far == pytest.approx(near, abs=CLOSE)
    curves = [(run / "events.jsonl").read_text().splitlines()[-1] for run in (pair.utm, pair.local)]
    far, near = (json.loads(line)["psnr"] for line in curves)
    assert far == pytest.approx(near, abs=CLOSE)


def test_the_offset_is_kept_and_said(pair):
    scene = json.loads((pair.utm / "scene.json").read_text())
    assert scene["frame"] == "local" and np.abs(np.subtract(scene["offset"], UTM)).max() < 1
    assert read_offset(pair.utm / "splats.ply") == tuple(scene["offset"])
    words = " ".join(str(x).removesuffix(".0") for x in scene["offset"])
    assert pair.said.count(f"less the offset {words}") == 1
    means = load_splats(pair.utm / "splats.ply").means.double() + torch.tensor(scene["offset"], dtype=torch.float64)
    local = load_splats(pair.local / "splats.ply").means.double()
    step = torch.tensor(UTM, dtype=torch.float64) - torch.tensor(LOCAL, dtype=torch.float64)
    assert ((means - local) - step).norm(dim=1).median() < 5e-3  # the cards are 1 large
    assert result(pair.utm)["offset"] == scene["offset"] and "offset" not in result(pair.local)
    assert "offset" not in json.loads((pair.local / "scene.json").read_text())


def test_report(pair):
    page = (pair.utm / "report.html").read_text()
    assert f"{result(pair.utm)['mean']['psnr']:.2f}" in page
    assert "less the offset" in page and "rounding without offset" in page


def test_video(pair):
    far, near = (frames(run / "videos" / "path.mp4") for run in (pair.utm, pair.local))
    assert far.shape == near.shape and len(far) > 10
    errors = ((far - near) ** 2).mean((1, 2, 3))
    assert -10 * np.log10(errors.max() / 255**2) > 30  # 17 dB where splats fall on a grid


def frames(path: Path) -> np.ndarray:
    reader = imageio_ffmpeg.read_frames(str(path))
    width, height = next(reader)["size"]
    return np.stack([np.frombuffer(raw, np.uint8).reshape(height, width, 3) for raw in reader]).astype(float)


EXPORTS = [(frame, ending) for ending in ("ply", "compressed.ply", "spz", "splat") for frame in ("local", "input")]


@pytest.mark.parametrize(("frame", "ending"), [*EXPORTS, ("normalised", "ply")])
def test_exports(pair, ending, frame, tmp_path, capsys):
    target = tmp_path / f"a.{ending}"
    done = cli.main(["export", str(pair.utm), "--to", str(target), "--frame", frame])
    told = capsys.readouterr().err
    if frame == "input":
        cost = result(pair.utm)["rounding_without_offset"]
        if ending == "spz":
            assert done == 2 and "SPZ holds positions up to 4194304" in told
        else:
            assert done == 0
            assert f"moved by up to {cost['units']:.2g} units, in the photos by {cost['pixels']:.2g} pixels" in told
        return
    assert done == 0 and ("less the offset" in told) == (frame == "local")
    run = shutil.copytree(pair.utm, tmp_path / "run", ignore=shutil.ignore_patterns("*.png", "*.npy", "checkpoints"))
    again = ["export", str(target), "--to", str(run / "splats.ply"), "--overwrite", "-q"]
    assert cli.main(again) == 0
    if frame == "normalised":
        scene = json.loads((run / "scene.json").read_text())
        scene |= {"source_from_world": np.eye(4).tolist(), "offset": [0, 0, 0]}
        (run / "scene.json").write_text(json.dumps(scene))
    elif ending.endswith("ply"):
        assert read_offset(run / "splats.ply") == read_offset(pair.utm / "splats.ply")
    assert held_out(pair, run) == pytest.approx(result(pair.local)["mean"]["psnr"], abs=CLOSE)


def test_page(pair, tmp_path):
    pages = []
    for run in (pair.utm, pair.local):
        assert cli.main(["export", str(run), "--to", str(tmp_path / f"{run.name}.html"), "-q"]) == 0
        text = (tmp_path / f"{run.name}.html").read_text()
        pages.append(json.loads(re.search(r'id="scene">(.*?)</script>', text)[1]))
    for far, near in zip(*(page["cameras"] for page in pages), strict=True):
        positions = [np.linalg.inv(np.reshape(camera["viewmat"], (4, 4)))[:3, 3] for camera in (far, near)]
        moved = np.subtract(read_offset(pair.utm / "splats.ply"), UTM) + np.array(LOCAL)
        np.testing.assert_allclose(positions[0] + moved, positions[1], rtol=0, atol=1e-6)
        assert far["distance"] == pytest.approx(near["distance"], rel=1e-3)


def test_cameras_json(pair):
    far, near = (json.loads((run / "cameras.json").read_text()) for run in (pair.utm, pair.local))
    moved = np.subtract(read_offset(pair.utm / "splats.ply"), UTM) + np.array(LOCAL)
    for one, other in zip(far, near, strict=True):
        np.testing.assert_allclose(np.add(one["position"], moved), other["position"], rtol=0, atol=1e-6)


def test_resume(pair, tmp_path):
    run = shutil.copytree(pair.utm, tmp_path / "run")
    before = (run / "splats.ply").read_bytes()
    (run / "splats.ply").unlink()
    assert cli.main(["reconstruct", "--resume", "--out", str(run), "--stop-after", "train", "-q"]) == 0
    assert (run / "splats.ply").read_bytes() == before
