"""scene.json of a run: frame, cameras, split and background, so that its splats can be rendered without the photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.data_tools.dataset import Dataset
from gs_reg.errors import reading
from gs_reg.io import load_splats
from gs_reg.io.frames import transform_splats
from gs_reg.types import Cameras, Splats

from ..runs.folder import Run


@dataclass(frozen=True)
class StoredScene:
    cameras: Mapping[str, Cameras]
    """The camera of each photo, by the name of the photo, in the normalised frame."""
    train: tuple[str, ...]
    test: tuple[str, ...]
    background: Float[Tensor, "3"]
    """Colour behind the splats in videos and renders."""
    source_from_world: Float[Tensor, "4 4"]
    """From the normalised frame to that of the given cameras."""


def write_scene(run: Run, dataset: Dataset, background: Float[Tensor, "3"]) -> None:
    """Writes scene.json. `frame` in it is that of splats.ply: "input" is the frame of the given cameras."""
    run.write_json(
        "scene.json",
        {
            "frame": "input",
            "units": dataset.units,
            "source_from_world": dataset.source_from_world.tolist(),
            "background": background.tolist(),
            "train": dataset.train,
            "test": dataset.test,
            "cameras": {
                frame.name: {
                    "viewmat": frame.camera.viewmats[0].tolist(),
                    "K": frame.camera.Ks[0].tolist(),
                    "width": frame.camera.width,
                    "height": frame.camera.height,
                }
                for frame in dataset.frames
            },
        },
    )


def read_scene(run: Run) -> StoredScene:
    with reading(run.path / "scene.json"):
        data = run.read_json("scene.json")
        cameras = {
            name: Cameras(torch.tensor(c["viewmat"])[None], torch.tensor(c["K"])[None], c["width"], c["height"])
            for name, c in data["cameras"].items()
        }
        background = torch.tensor(data["background"])
        transform = torch.tensor(data["source_from_world"], dtype=torch.float64)
        return StoredScene(cameras, tuple(data["train"]), tuple(data["test"]), background, transform)


def stored_splats(run: Run) -> Splats:
    """splats.ply, transformed back to the normalised frame."""
    return transform_splats(torch.linalg.inv(read_scene(run).source_from_world), load_splats(run.splats))
