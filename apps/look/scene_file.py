"""scene.json of a run: frame, cameras, split and background, so that its splats can be rendered without the photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.data_tools.dataset import Dataset
from gs_reg.errors import reading
from gs_reg.geometry import shifted, similarity_scale
from gs_reg.io import load_splats, read_offset
from gs_reg.io.frames import transform_splats
from gs_reg.render import MAX_IMAGE_SIDE
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
    offset: Float[Tensor, "3"]
    """What the run's files leave out of the coordinates of the given cameras; 0 unless they are far from the origin."""
    units: str = "unknown"
    """Of the given cameras: metres, or unknown."""

    @property
    def file_from_world(self) -> Float[Tensor, "4 4"]:
        """From the normalised frame to that of splats.ply."""
        return shifted(self.source_from_world, self.offset)


def write_scene(run: Run, dataset: Dataset, background: Float[Tensor, "3"]) -> None:
    """Writes scene.json. `frame` in it is that of splats.ply: "input" is the frame of the given cameras, "local" the
    same less `offset`."""
    run.write_json(
        "scene.json",
        {
            **({"frame": "local", "offset": dataset.offset.tolist()} if dataset.offset.any() else {"frame": "input"}),
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


def write_offset(run: Run, dataset: Dataset) -> None:
    """Brings scene.json up to date where it was written before files had an offset."""
    stored, offset = run.read_json("scene.json"), dataset.offset.tolist()
    if stored.get("offset", [0, 0, 0]) != offset:
        run.write_json("scene.json", {**stored, "frame": "local", "offset": offset})


def read_scene(run: Run) -> StoredScene:
    """Raises InputError: scene.json is missing, or something in it is no camera, name or similarity."""
    with reading(run.path / "scene.json"):
        data = run.read_json("scene.json")
        scene = StoredScene(
            cameras={name: _camera(stored) for name, stored in data["cameras"].items()},
            train=tuple(data["train"]),
            test=tuple(data["test"]),
            background=_numbers(data["background"], (3,), torch.float32),
            source_from_world=_numbers(data["source_from_world"], (4, 4), torch.float64),
            offset=_numbers(data.get("offset", [0, 0, 0]), (3,), torch.float64),
            units=str(data.get("units", "unknown")),
        )
        similarity_scale(scene.source_from_world)
        if unknown := [name for name in (*scene.train, *scene.test) if name not in scene.cameras]:
            raise ValueError(f"{unknown[0]!r:.80} has no camera")
        return scene


def _camera(stored: Mapping[str, Any]) -> Cameras:
    width, height = int(stored["width"]), int(stored["height"])
    if min(width, height) < 1 or max(width, height) > MAX_IMAGE_SIDE:
        raise ValueError(f"a camera of {width}x{height} pixels")
    viewmat, K = _numbers(stored["viewmat"], (4, 4), torch.float32), _numbers(stored["K"], (3, 3), torch.float32)
    if not torch.linalg.inv_ex(viewmat).info.eq(0):
        raise ValueError("a viewmat that has no inverse")
    return Cameras(viewmat[None], K[None], width, height)


def _numbers(value: Any, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    tensor = torch.tensor(value, dtype=dtype)
    if tensor.shape != shape or not tensor.isfinite().all():
        raise ValueError(f"expected finite numbers {list(shape)}, got {value!r:.80}")
    return tensor


def stored_splats(run: Run, scene: StoredScene | None = None) -> Splats:
    """splats.ply, transformed back to the normalised frame; `scene` is that of `splats_frame`, if already read."""
    scene = scene or splats_frame(run)
    return transform_splats(torch.linalg.inv(scene.file_from_world), load_splats(run.splats))


def splats_frame(run: Run) -> StoredScene:
    """The scene with the offset that splats.ply names itself; one that an editor wrote names none, so has the run's."""
    scene, named = read_scene(run), read_offset(run.splats)
    return scene if named is None else replace(scene, offset=torch.tensor(named, dtype=torch.float64))
