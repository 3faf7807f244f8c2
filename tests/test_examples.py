"""The scripts of docs/examples, as a user would run them: in a process of their own, outside the checkout."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from gs_reg.data_tools.dataset import read_dataset
from gs_reg.data_tools.synthetic.scene import Rig, rig_cameras

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


def run(name: str, folder: Path, *arguments: str) -> str:
    # waiting threads sleep: on a busy machine they would take the time of those that work
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme_s_lines_of_python(tmp_path):
    text = (EXAMPLES.parents[1] / "README.md").read_text(encoding="utf-8").split("## From Python\n")[1]
    code = "".join(line[4:] for line in text.splitlines(keepends=True) if line.startswith("    "))
    code = code.split(".venv/bin/python")[0] + "print(image.colors.shape, float(image.alphas.max()) > 0.8)\n"
    assert "gs_reg.render(splats, camera)" in code
    run("render_and_gradient.py", tmp_path, "splats.ply")
    (tmp_path / "code.py").write_text(code)
    assert run(str(tmp_path / "code.py"), tmp_path) == "torch.Size([1, 480, 640, 3]) True\n"


def numbers(text: str) -> list[float]:
    return [float(n) for n in re.findall(r"-?\d+\.\d+", text)]


def test_there_is_a_test_for_each():
    assert sorted(p.name for p in EXAMPLES.glob("*.py")) == ["own_reader.py", "own_term.py", "render_and_gradient.py"]
    assert all(len(p.read_text().splitlines()) <= 65 for p in EXAMPLES.glob("*.py"))


def test_render_and_gradient(tmp_path):
    picture, gradient = run("render_and_gradient.py", tmp_path, "three.ply").splitlines()
    assert picture.startswith("3 splats from three.ply: [1, 120, 160, 3]")
    assert 0.89 < numbers(picture)[0] < 0.95  # 0.9 and a little of the neighbours
    automatic, by_differences = numbers(gradient)
    assert automatic > 10 and abs(automatic - by_differences) < 0.01 * automatic
    again = run("render_and_gradient.py", tmp_path, "three.ply")  # the file is there now, and read
    assert again.splitlines() == [picture, gradient]


def test_own_term(tmp_path):
    lines = [line for line in run("own_term.py", tmp_path, "40").splitlines() if line.startswith("weight")]
    (_, psnr, _, longer), (_, same_psnr, _, shorter) = [[*numbers(line)[:2], 1, numbers(line)[-1]] for line in lines]
    assert psnr > 15 and abs(psnr - same_psnr) < 0.5
    assert shorter < longer - 0.04


def test_own_reader(tmp_path):
    out = run("own_reader.py", tmp_path, "made")
    assert out.startswith("3 photos, to train on: train_00.png, train_01.png, train_02.png")
    dataset = read_dataset(tmp_path / "made" / "photos")
    cameras = rig_cameras(Rig(width=96, height=72, held_out=0), (0.0, 0.2, 4.0))  # of box_and_sphere
    for frame, true in zip(dataset.frames, (cameras[i] for i in range(3)), strict=True):
        np.testing.assert_allclose(frame.camera.Ks[0], true.Ks[0], atol=1e-4)
        source_from_camera = dataset.source_from_world @ frame.camera.viewmats[0].double().inverse()
        scale = float(dataset.source_from_world[0, 0])
        np.testing.assert_allclose(source_from_camera[:3, 3], true.centers[0], atol=1e-5)
        np.testing.assert_allclose(source_from_camera[:3, :3] / scale, true.world_from_camera[0, :3, :3], atol=1e-5)
    assert int(out.splitlines()[-1].split()[0]) > 1000
    assert (tmp_path / "made" / "run" / "splats.ply").is_file()
