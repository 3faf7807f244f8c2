"""`gs-reg-data`: what our readers read, or the photos of a gs-reg run, as a data set of nerfstudio.

Photos are split by name. Missing ones are listed and left out; nothing is asked on the terminal.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras, CameraType  # pyright: ignore[reportMissingImports]
from nerfstudio.data.dataparsers.base_dataparser import (  # pyright: ignore[reportMissingImports]
    DataParser,
    DataParserConfig,
    DataparserOutputs,
)
from nerfstudio.data.scene_box import SceneBox  # pyright: ignore[reportMissingImports]
from nerfstudio.plugins.registry_dataparser import DataParserSpecification  # pyright: ignore[reportMissingImports]
from torch import Tensor

from gs_reg.errors import InputError


@dataclass
class GsRegDataParserConfig(DataParserConfig):
    _target: type = field(default_factory=lambda: GsRegDataParser)
    data: Path = Path()
    """Folder of photos (LLFF, COLMAP, transforms.json, Strecha, Middlebury, plain photos), or of a gs-reg run."""
    views: int | None = None
    """Number of training photos, at even distances among those that are not held out; None = all of them."""
    train: tuple[str, ...] = ()
    """Photos to train on, by name or index in sorted order."""
    test: tuple[str, ...] = ()
    """Photos to hold out, by name or index in sorted order."""
    test_every: int | None = None
    """Hold out every n-th photo, 0 = none; None = the source's split, else 8 (0 for under 10)."""
    downscale: float | None = None
    """Shrink photos by this factor; None = to `long_side`."""
    long_side: int = 1600
    """Most pixels of the long side where `downscale` is None."""
    masks: Literal["auto", "ignore", "transparent", "dark", "none"] = "auto"
    """What masked pixels mean: ignore = in no loss, transparent = empty."""
    orientation: Literal["up", "none"] = "up"
    """up: the mean of the cameras' up becomes z, as nerfstudio's viewer wants; none: the source's axes."""
    cache_dir: Path | None = None
    """Where photos are kept after undistortion and shrinking; None = the user's cache folder."""


class GsRegDataParser(DataParser):
    config: Any

    def _generate_dataparser_outputs(self, split: str = "train", **kwargs: Any) -> DataparserOutputs:
        from .photos import working_photos

        dataset = self.dataset()
        if split == "train":
            for name, reason in dataset.skipped:
                print(f"gs-reg: left out {name}: {reason}")
            for note in dataset.notes:
                print(f"gs-reg: {note}")
        names = dataset.train if split == "train" or not dataset.test else dataset.test
        if split != "train" and not dataset.test:
            print("gs-reg: no photo is held out: the training photos stand for them")
        turn = upright(dataset) if self.config.orientation == "up" else torch.eye(4, dtype=torch.float64)
        photos, masks = working_photos(dataset, names, self.config.cache_dir)
        scale = float(dataset.source_from_world[0, 0])
        transform = turn.clone()
        transform[:3, 3] = -turn[:3, :3] @ dataset.source_from_world[:3, 3]
        metadata = {}
        if dataset.points is not None and len(dataset.points):
            metadata["points3D_xyz"] = (dataset.points @ turn[:3, :3].T).float()
            metadata["points3D_rgb"] = torch.full((len(dataset.points), 3), 127, dtype=torch.uint8)
        return DataparserOutputs(
            image_filenames=photos,
            cameras=_cameras([dataset.frame(name).camera for name in names], turn),
            scene_box=SceneBox(aabb=torch.tensor([[-2.0] * 3, [2.0] * 3])),
            mask_filenames=masks,
            metadata=metadata,
            dataparser_transform=transform[:3].float(),
            dataparser_scale=1 / scale,
        )

    def dataset(self) -> Any:
        """The data set of the folder, or of the run with the run's own flags.

        Raises:
            InputError: as `gs-reg reconstruct`; flags beside the folder of a run.
        """
        from gs_reg.data_tools.dataset import ReadConfig, read_dataset

        c = self.config
        if (c.data / "config.yaml").is_file() and (c.data / "scene.json").is_file():
            return self._dataset_of_run()
        if not c.data.is_dir():
            raise InputError(f"--data {c.data}: no such folder")
        read = ReadConfig(
            c.views, c.train, c.test, c.test_every, c.downscale or "auto", masks=c.masks, long_side=c.long_side
        )
        return read_dataset(c.data, read)

    def _dataset_of_run(self) -> Any:
        from gs_reg.data_tools.dataset import read_dataset

        from ..runs.folder import open_run
        from ..scenes.config import Config as ReconstructConfig

        c, fresh = self.config, GsRegDataParserConfig()
        free = ("_target", "data", "orientation", "cache_dir")
        given = [f.name for f in fields(c) if f.name not in free and getattr(c, f.name) != getattr(fresh, f.name)]
        if given:
            raise InputError(f"--data {c.data}: a run has its own {', '.join(given)}: leave these flags out")
        run = open_run(c.data)
        config, scene = run.config(ReconstructConfig), run.read_json("scene.json")
        chosen = {"views": None, "train": tuple(scene["train"]), "test": tuple(scene["test"])}
        dataset = read_dataset(config.data, replace(config.read, **chosen))
        return replace(dataset, test=tuple(name for name in dataset.test if name in scene["test"]))


def upright(dataset: Any) -> Float[Tensor, "4 4"]:
    """The rotation (float64) that turns the mean up direction of the cameras to z."""
    up = -torch.stack([frame.camera.viewmats[0, 1, :3] for frame in dataset.frames]).double().mean(0)
    turn = torch.eye(4, dtype=torch.float64)
    if not float(up.norm()) > 1e-6:
        return turn
    z = up / up.norm()
    across = torch.eye(3, dtype=torch.float64)[int(z.abs().argmin())]
    x = torch.linalg.cross(across, z)
    x = x / x.norm()
    turn[:3, :3] = torch.stack([x, torch.linalg.cross(z, x), z])
    return turn


def _cameras(cameras: list[Any], turn: Float[Tensor, "4 4"]) -> Cameras:
    poses = torch.cat([camera.opengl_poses for camera in cameras]).double()
    poses = (turn @ poses)[:, :3].float()
    Ks = torch.cat([camera.Ks for camera in cameras]).float()
    return Cameras(
        camera_to_worlds=poses,
        fx=Ks[:, 0, 0],
        fy=Ks[:, 1, 1],
        cx=Ks[:, 0, 2],
        cy=Ks[:, 1, 2],
        width=torch.tensor([camera.width for camera in cameras], dtype=torch.int32),
        height=torch.tensor([camera.height for camera in cameras], dtype=torch.int32),
        camera_type=CameraType.PERSPECTIVE,
    )


specification = DataParserSpecification(
    GsRegDataParserConfig(), "gs-reg: COLMAP, transforms.json, LLFF, Strecha, plain photos, or a gs-reg run."
)
