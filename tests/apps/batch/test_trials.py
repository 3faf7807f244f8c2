"""`make batch-trials`: 12 edits on 3 scenes, killed in mid-run on each executor, equal an undisturbed batch.

TRIALS in the environment is a folder in which the scenes and the undisturbed batch are kept for the next call.
"""

import json
import os
import signal
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("diffusers", reason="the extra edit is not installed")

from gs_reg.apps.batch.lockfile import read_lock
from gs_reg.apps.batch.states import events, read_status
from gs_reg.apps.edit.scene import SceneConfig, open_scene
from gs_reg.data_tools.synthetic.objects.families import make_object
from gs_reg.data_tools.synthetic.objects.gaussians import splats_of
from gs_reg.io import save_splats
from gs_reg.io.digest import file_sha256
from gs_reg.parts.decision import masks
from gs_reg.render import render

from ..edit.conftest import AFTER, BEFORE, save
from . import fakes
from .test_engine import CONTEXT, until

SIZE, VIEWS, COUNT = 32, 4, 500
SCENES = ("m1", "m2", "m3")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * 3600)]


def make_scene(folder: Path, number: int) -> None:
    """A procedural mug with true masks of its parts, and pictures of it with a green handle."""
    item = make_object("mug", number)
    before, after = (splats_of(item, look, COUNT) for look in (BEFORE, AFTER))
    folder.mkdir(parents=True, exist_ok=True)
    save_splats(folder / "mug.ply", before)
    scene = open_scene(folder / "mug.ply", SceneConfig(None, "y", VIEWS, SIZE), folder / "x.ply", torch.device("cpu"))
    for row, part in enumerate(item.parts):
        drawn = masks(before, scene.views.cameras, before.extra["part"] == row + 1)
        for name, mask in zip(scene.views.names, drawn, strict=True):
            save(folder / "masks" / name / f"{part}.png", mask.numpy().astype(np.uint8) * 255)
    for i, name in enumerate(scene.views.names):
        picture = render(after, scene.views.cameras[i], backgrounds=torch.ones(1, 3)).colors[0]
        save(folder / "oracle" / f"{name}.png", (picture.clamp(0, 1) * 255).round().byte().numpy())


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    kept = os.environ.get("TRIALS")
    return Path(kept) if kept else tmp_path_factory.mktemp("edits")


@pytest.fixture(scope="module")
def jobs(root) -> Path:
    """A file of 12 edits on 3 scenes; with the parts that they share, 18 jobs."""
    entries = []
    for number, name in enumerate(SCENES):
        make_scene(root / name, number + 1)
        flags = {"data": f"{name}/mug.ply", "teacher": f"masks:{name}/masks", "editor": f"folder:{name}/oracle"}
        entries.append({"id": name, **flags, "matrix": {"model_edit.lr_color": [0.1, 0.05], "seed": [0, 1]}})
    shared = {"object": "a mug", "parts": "rim,handle,body", "part": "handle", "edit": "a green handle", "up": "y"}
    shared |= {"size": SIZE, "views": VIEWS, "preset": "fast", "steps": 30, "checkpoint_every": 5, "device": "cpu"}
    text = {"kind": "edit", "defaults": shared, "resources": {"threads": 1, "memory_gb": 1.0}, "jobs": entries}
    (root / "jobs.yaml").write_text(yaml.safe_dump(text, sort_keys=False))
    return root / "jobs.yaml"


class Run:
    """An engine in a process of its own."""

    def __init__(self, out: Path, *words):
        self.out, self.log = out, out.with_suffix(".log")
        CONTEXT.set_forkserver_preload(["tests.apps.batch.fakes", "gs_reg.apps.batch.run", "gs_reg.apps.edit.run"])
        self.process = CONTEXT.Process(target=fakes.main, args=(list(map(str, words)), self.log))
        self.process.start()

    def code(self) -> int | None:
        self.process.join(3600)
        return self.process.exitcode


def edited(out: Path) -> dict[str, str]:
    """SHA-256 of what each edit made; every job was done once."""
    found = {}
    for job in read_lock(out).jobs:
        assert sum(one["event"] == "done" for one in events(job.folder(out))) == 1, job.name
        if job.kind == "edit":
            found[job.name] = file_sha256(out / job.out / "edited.ply")
    return found


@pytest.fixture(scope="module")
def undisturbed(jobs, root) -> dict[str, str]:
    out = root / "whole"
    run = Run(out, "run", jobs, "--out", out, "--workers", "2")
    assert run.code() == 0, run.log.read_text()
    found = edited(out)
    assert len(found) == 12 and len(set(found.values())) == 12
    return found


def training(out: Path) -> list[Path]:
    """Folders of edits that run and have a checkpoint."""
    found = [path.parents[2] for path in out.glob("jobs/*/out/checkpoints/step_*") if not path.name.endswith("000000")]
    return [folder for folder in dict.fromkeys(found) if read_status(folder).state == "running"]


def child_of(folder: Path) -> int:
    """The process that does a job."""
    newest = max((folder / "lease").iterdir(), key=lambda path: int(path.name) if path.name.isdecimal() else -1)
    return json.loads(newest.read_text())["child"]


@pytest.mark.parametrize(
    ("place", "kills"),
    [
        pytest.param((), ("child", "engine"), id="local"),
        pytest.param(("--executor", "ray"), ("worker",), id="ray"),
        pytest.param(("--executor", "slurm", "--address", "local"), ("worker", "engine"), id="slurm"),
    ],
)
def test_twelve_edits_with_kills(jobs, undisturbed, tmp_path, place, kills):
    # not importorskip: Ray, imported ahead of the executor, would listen beyond this machine
    if place and find_spec("ray" if "ray" in place else "submitit") is None:
        pytest.skip("the extra is not installed")
    out = tmp_path / "batch"
    run = Run(out, "run", jobs, "--out", out, "--workers", "2", *place)
    for kill in kills:
        until(lambda: training(out) or not run.process.is_alive(), 1000)
        assert run.process.is_alive(), run.log.read_text()
        folder = training(out)[0]
        pid = {"child": child_of(folder), "worker": read_status(folder).pid, "engine": run.process.pid}[kill]
        os.kill(pid, signal.SIGKILL)
    if "engine" in kills:
        run.process.join()
        run = Run(out, "resume", out)
    assert run.code() == 0, run.log.read_text()
    assert edited(out) == undisturbed
    attempts = [read_status(job.folder(out)).attempt for job in read_lock(out).jobs]
    print(f"{place or 'local'}: killed {kills}; attempts {sorted(attempts, reverse=True)}")
    assert max(attempts) > 1
