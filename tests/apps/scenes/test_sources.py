"""Where depth and flow come from, through the command line: printed, stored, and without any network access."""

import json
import os
import subprocess

import numpy as np
import pytest

from ..conftest import command

GUARD = """
import socket

def refuse(*_, **__):
    raise AssertionError("network access")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""


@pytest.fixture
def offline(tmp_path):
    """Runs a command that fails where it reaches for the network; no cache of any hub is at hand."""
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD)

    def run(*words) -> subprocess.CompletedProcess:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(tmp_path / "guard"), os.environ.get("PYTHONPATH", "")]),
            "HF_HOME": str(tmp_path / "hub"),
            "TORCH_HOME": str(tmp_path / "torch"),
            "OMP_NUM_THREADS": "2",
        }
        return subprocess.run(command(*words), capture_output=True, text=True, timeout=240, env=environment)

    return run


def test_whole_chain_without_network_and_weights(offline, photos, tmp_path):
    """T22; and the guard is one: a hub id that may be downloaded is refused by it."""
    out = tmp_path / "run"
    done = offline("reconstruct", photos, "--out", out, "--preset", "rays", "--train.steps", 2)
    assert done.returncode == 0, done.stderr
    sources = json.loads((out / "sources.json").read_text())
    assert sources["depth"]["source"] == "ours" and "auto" in sources["depth"]["why"]
    assert sources["flow"]["source"] == "dis" and sources["flow"]["used as"].startswith("nothing")
    assert (
        "depth: plane sweep over the photos, SIFT keypoints, no weights (auto: no --depth.path"
        in (out / "log.txt").read_text()
    )
    asked = ["--depth.source", "transformers", "--depth.path", "some/model"]
    for more, word in (([], "not on this machine"), (["--depth.download"], "the download failed")):
        done = offline("reconstruct", photos, "--out", tmp_path / "none", *asked, *more)
        assert done.returncode == 3, done.stderr
        assert word in done.stderr or "gs-reg[networks]" in done.stderr
    assert not (tmp_path / "none").exists()


def test_metric_maps_are_in_the_units_of_the_photos_cameras(offline, photos, tmp_path):
    """The folder's own exact depths; the world inside is another one."""
    out = tmp_path / "run"
    flags = ["--depth.source", "files", "--depth.path", photos / "depths", "--depth.kind", "metric"]
    done = offline("reconstruct", photos, "--out", out, *flags, "--preset", "rays", "--stop-after", "init")
    assert done.returncode == 0, done.stderr
    sources = json.loads((out / "sources.json").read_text())["depth"]
    assert sources["source"] == "files" and "metric maps" in sources["what"]
    for ratio in sources["times the shared points' depth"].values():
        assert ratio is None or abs(ratio - 1) < 0.03
    scene = json.loads((out / "scene.json").read_text())
    scale = scene["source_from_world"][0][0]
    given = np.load(photos / "depths" / "train_00.npy")
    np.testing.assert_allclose(np.load(out / "depths" / "train_00.npy") * scale, given, rtol=1e-4)


def test_sources_are_looked_for_before_anything_long_starts(offline, photos, tmp_path):
    for flags, code, word in (
        (["--depth.source", "files"], 2, "no --depth.path"),
        (["--flow.source", "raft"], 3, "download raft_large"),
        (["--flow.source", "files", "--flow.path", tmp_path / "away"], 2, "no folder of flow files"),
    ):
        done = offline("reconstruct", photos, "--dry-run", *flags)
        assert (done.returncode, word in done.stderr, len(done.stderr.strip().splitlines()[-1:])) == (code, True, 1)
