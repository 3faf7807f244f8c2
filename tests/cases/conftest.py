"""Small data sets with exact truth, by ../shared/cases/make_cases.py; its README says what is right for each."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gs_reg.apps import cli


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def cases(tmp_path_factory) -> Path:
    script = Path(__file__).parents[3] / "shared" / "cases" / "make_cases.py"
    if not script.is_file():
        pytest.skip(f"cases not found: no {script}")
    out = tmp_path_factory.mktemp("cases")
    subprocess.run([sys.executable, "-B", script, out], check=True, timeout=120)
    return out


@pytest.fixture(scope="session")
def depths(cases) -> Path:
    """The exact depth maps by the names that the photos have where there are no folders: the cameras are the same."""
    folder = cases / "flat_depth"
    folder.mkdir()
    for i, name in enumerate(("cam0/0001", "cam0/0002", "cam1/0001", "cam1/0002")):
        shutil.copy(cases / "folders_depth" / f"{name}.npy", folder / f"{i:03d}.npy")
    return folder


@pytest.fixture(scope="session")
def reconstruct(cases, tmp_path_factory):
    """Makes a run of a case from exact depth, to be read only."""

    def run(case: str, depth: Path, *flags: str) -> Path:
        out = tmp_path_factory.mktemp("runs") / case
        words = ["reconstruct", str(cases / case), "--out", str(out), "--preset", "ci", "--train", "0", "1", "3"]
        words += ["--test", "2", "--depth.source", "files", "--depth.path", str(depth), "--depth.kind", "metric"]
        assert cli.main([*words, *flags]) == 0
        return out

    return run
