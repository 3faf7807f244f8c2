"""`make wheel`, installed as on a machine without a compiler, and used there from outside the checkout."""

import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
DRAW = """
import sys, torch, gs_reg
K = torch.tensor([[[40.0, 0, 20], [0, 40, 15], [0, 0, 1]]])
one = gs_reg.Splats(torch.tensor([[0.0, 0, 2]]), torch.tensor([[1.0, 0, 0, 0]]), torch.full((1, 3), -2.0),
                    torch.tensor([4.0]), torch.tensor([[[1.7724539, 0, 0]]]))
image = gs_reg.render(one, gs_reg.Cameras(torch.eye(4)[None], K, 40, 30), gs_reg.RenderConfig(backend="native"))
print(gs_reg.__file__, *image.colors[0, 15, 20].tolist(), sep="\\n")
"""


def run(command: list[str], folder: Path, path: str) -> str:
    env = {"PATH": path, "HOME": str(folder), "OMP_WAIT_POLICY": "PASSIVE", "PYTHONNOUSERSITE": "1"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel() -> Path:
    """The newest in dist/, built where WHEEL does not name another."""
    if "WHEEL" in os.environ:
        return Path(os.environ["WHEEL"]).resolve()
    subprocess.run(["make", "wheel"], cwd=ROOT, check=True)
    return max((ROOT / "dist").glob("*.whl"), key=lambda path: path.stat().st_mtime)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A fresh environment with the wheel, which finds the packages of this one behind its own; no compiler in PATH."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    run(
        [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)],
        folder,
        "",
    )
    # folders that a .pth names are searched, but their own .pth files, such as that of an editable gs-reg, are not read
    packages = [path for path in sys.path if path.endswith("site-packages")]
    (site / "packages.pth").write_text("\n".join(packages) + "\n")
    return folder


def test_the_wheel_fits_every_python_and_old_systems(wheel):
    name, version, python, abi, platform = wheel.stem.split("-")
    assert (name, python, abi) == ("gs_reg", "py3", "none") and version[0].isdigit()
    glibc = [tuple(map(int, tag.split("_")[1:3])) for tag in platform.split(".") if tag.startswith("manylinux_")]
    assert glibc and max(glibc) <= (2, 28)


def test_the_wheel_holds_all_that_is_needed_and_no_more(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"gs_reg/py.typed", "gs_reg/libgsr_cpu_base.so", "gs_reg/apps/look/report/report.html"} <= names
    for web in ("gs_reg/io/web", "gs_reg/bake/web"):
        assert {f"{web}/{path.name}" for path in (ROOT / web).iterdir()} <= names
    (licence,) = (name for name in names if name.endswith("/licenses/LICENSE"))
    info = licence.split("/")[0]
    assert all(name.startswith(("gs_reg/", f"{info}/")) for name in names)
    roots = {"gs_reg": "gs_reg", "gs_reg/apps": "apps", "gs_reg/data_tools": "data_tools"}
    modules = {
        f"{part}/{path.relative_to(ROOT / folder).as_posix()}"
        for part, folder in roots.items()
        for path in (ROOT / folder).rglob("*.py")
    }
    assert modules == {name for name in names if name.endswith(".py")}
    for library in (name for name in names if name.endswith(".so")):
        content = zipfile.ZipFile(wheel).read(library)
        assert b"libtorch" not in content and b"libpython" not in content and b"libc10" not in content


def test_it_works_without_a_compiler_outside_the_checkout(installed):
    python = str(installed / "env" / "bin" / "python")
    (file, *color) = run([python, "-c", DRAW], installed, "").split()
    assert Path(file).is_relative_to(installed)
    # half a pixel from the centre on both axes, a variance of (40 e^-2 / 2)^2 + 0.3 px: sigmoid(4) exp(-0.25 / 7.627)
    np.testing.assert_allclose([float(c) for c in color], [0.95035, 0.47518, 0.47518], atol=1e-4)
    version = run([python, "-m", "gs_reg", "version"], installed, "")
    assert version.strip()
    doctor = run([python, "-m", "gs_reg", "doctor"], installed, "")
    assert re.search(r"ok +native library", doctor)
    assert not re.search(r"ok +C\+\+ compiler", doctor)
