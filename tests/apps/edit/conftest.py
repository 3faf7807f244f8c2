"""A small procedural mug as a splat file, with true masks of its parts and pictures of it with a green handle."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("diffusers", reason="the extra edit is not installed")

from gs_reg.apps import cli
from gs_reg.apps.edit.scene import SceneConfig, open_scene
from gs_reg.data_tools.synthetic.objects.colors import NAMES, Paint
from gs_reg.data_tools.synthetic.objects.families import make_object
from gs_reg.data_tools.synthetic.objects.gaussians import splats_of
from gs_reg.io import save_splats
from gs_reg.parts.decision import masks
from gs_reg.render import render

from ...diffusion import tiny as pipelines

SIZE, VIEWS, COUNT = 64, 6, 1200
BEFORE = Paint((NAMES.index("white"), NAMES.index("red"), NAMES.index("blue")), (0, 0, 0))
"""Rim, handle, body."""
AFTER = replace(BEFORE, colors=(BEFORE.colors[0], NAMES.index("green"), BEFORE.colors[2]))


@dataclass(frozen=True)
class Mug:
    folder: Path

    @property
    def scene(self) -> Path:
        return self.folder / "mug.ply"

    @property
    def words(self) -> list[str]:
        """Of all commands on it."""
        flags = ["--object", "a mug", "--parts", "rim,handle,body", "--up", "y", "--size", str(SIZE)]
        flags += ["--teacher", f"masks:{self.folder / 'masks'}", "--views", str(VIEWS), "--preset", "fast"]
        return [str(self.scene), *flags, "--device", "cpu"]

    @property
    def edit(self) -> list[str]:
        flags = ["--part", "handle", "--edit", "a green handle", "--editor", f"folder:{self.folder / 'oracle'}"]
        return [*self.words, *flags, "--steps", "60", "--model-edit.lr-color", "0.1", "--checkpoint-every", "20"]


@pytest.fixture(scope="session")
def mug(tmp_path_factory) -> Mug:
    folder = tmp_path_factory.mktemp("mug")
    item = make_object("mug", 3)
    before, after = (splats_of(item, look, COUNT) for look in (BEFORE, AFTER))
    save_splats(folder / "mug.ply", before)
    scene = open_scene(folder / "mug.ply", SceneConfig(None, "y", VIEWS, SIZE), folder / "x.ply", torch.device("cpu"))
    for row, part in enumerate(item.parts):
        drawn = masks(before, scene.views.cameras, before.extra["part"] == row + 1)
        for name, mask in zip(scene.views.names, drawn, strict=True):
            save(folder / "masks" / name / f"{part}.png", mask.numpy().astype(np.uint8) * 255)
    background = torch.ones(1, 3)
    for i, name in enumerate(scene.views.names):
        picture = render(after, scene.views.cameras[i], backgrounds=background).colors[0]
        save(folder / "oracle" / f"{name}.png", (picture.clamp(0, 1) * 255).round().byte().numpy())
    return Mug(folder)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="session")
def finished(mug: Mug, tmp_path_factory) -> Path:
    """The folder of an unbroken `edit run`, with a log: an interrupted one is compared with it, which has none."""
    out = tmp_path_factory.mktemp("edit") / "run"
    assert cli.main(["edit", "run", *mug.edit, "--log", "tensorboard", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def tiny_sd3(tmp_path_factory) -> Path:
    """A folder of a random SD3 pipeline of a few kB."""
    return pipelines.folder("sd3", tmp_path_factory.mktemp("pipelines"))
