"""What is shown: the splats of a run or of a file, its photos and cameras, in the frame of the page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.data_tools.photos.names import file_stems
from gs_reg.errors import InputError, reading
from gs_reg.io.frames import transform_splats
from gs_reg.io.opening import some_of, up_direction, viewing_distance, whole_scene
from gs_reg.parts.store import LABELS_FILE
from gs_reg.parts.types import Decision
from gs_reg.render import RenderConfig, lift, project
from gs_reg.types import Cameras, Splats

from ..edit.labels import known_decision
from ..look.opened import Opened, open_source, title_of
from ..look.scene_file import StoredScene, splats_frame
from ..runs.folder import Run, open_run
from ..runs.progress import plural
from .frame import frame_around

FILES = ("splats.ply", "edited.ply", "input.ply")
"""Of a run, the last result first."""

LEAST_WEIGHT = 0.05
"""Of a splat in the pixels of all training photos: a twentieth of one pixel."""


@dataclass(frozen=True)
class Photo:
    name: str
    camera: Cameras
    """In the frame of the page."""
    training: bool
    picture: Path | None
    """The photo as the run used it: undistorted, of the camera's size; None = not kept."""
    counts: Path | None
    """How many training photos see each pixel's surface, as .npy; None = not kept."""


@dataclass(frozen=True)
class Shown:
    """Everything here is in the frame of the page, in which scenes are about 1 in size, but what was `opened`."""

    title: str
    opened: Opened
    """As in the file."""
    out: Path
    """Folder for what people export, save and film."""
    splats: Splats
    file_from_page: Float[Tensor, "4 4"]
    """Similarity in double precision."""
    up: Float[Tensor, "3"]
    background: Float[Tensor, "3"]
    photos: tuple[Photo, ...]
    """Those of training first."""
    first: Cameras
    """Where the page opens."""
    distance: float
    """From there to what it looks at."""
    labels: Decision | None
    """Of each splat, where labels.npz lies in the run."""

    def __post_init__(self) -> None:
        if len(self.splats) == 0:
            raise InputError(f"{self.opened.file}: there are no splats to show")


def open_shown(source: Path, out: Path | None = None) -> Shown:
    """What a run's folder, or a splat file, holds.

    Raises:
        InputError: nothing that can be shown, or a broken file.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder of a run")
    if not source.is_dir():
        return _file(source, source.name, out or Path(f"{source.name.split('.')[0]}-view"))
    run = open_run(source)
    title = title_of(run.path)
    out = out or run.path / "view"
    if run.splats.is_file() and (run.path / "scene.json").is_file():
        return _run(run, title, out)
    file = next((run.path / name for name in FILES if (run.path / name).is_file()), None)
    if file is None:
        raise InputError(f"{run.path}: expected one of {', '.join(FILES)}, found none: has this run ended?")
    shown = _file(file, title, out)
    return replace(shown, labels=_labels(file, len(shown.splats)))


def _run(run: Run, title: str, out: Path) -> Shown:
    """In the run's normalised frame, as `gs-reg render` draws it."""
    scene, opened = splats_frame(run), open_source(run.path, "local")
    splats = transform_splats(torch.linalg.inv(scene.file_from_world), opened.splats)
    photos = _photos(run, scene)
    first = photos[0].camera
    return Shown(
        title=title,
        opened=opened,
        out=out,
        splats=splats,
        file_from_page=scene.file_from_world,
        up=torch.tensor(up_direction([photo.camera for photo in photos])),
        background=scene.background,
        photos=photos,
        first=first,
        distance=viewing_distance(some_of(splats.means), first) if len(splats) else 1.0,
        labels=_labels(run.splats, len(splats)),
    )


def _photos(run: Run, scene: StoredScene) -> tuple[Photo, ...]:
    stems, photos = file_stems(scene.cameras), []
    for split, names in (("train", scene.train), ("test", scene.test)):
        for name in names:
            picture = run.path / "renders" / split / f"{stems[name]}_photo.png"
            counts = run.path / "masks" / f"{stems[name]}_views.npy"
            kept = [path if path.is_file() else None for path in (picture, counts)]
            photos.append(Photo(name, scene.cameras[name], split == "train", *kept))
    if not photos:
        raise InputError(f"{run.path / 'scene.json'}: expected cameras of photos, got none")
    return tuple(photos)


def _file(file: Path, title: str, out: Path) -> Shown:
    """In a frame whose origin is the middle of the splats, and whose unit the reach of most of them."""
    opened = open_source(file, "local")
    means = opened.splats.means
    file_from_page = frame_around(means) if len(means) else torch.eye(4, dtype=torch.float64)
    splats = transform_splats(torch.linalg.inv(file_from_page), opened.splats)
    some = some_of(splats.means)
    first = whole_scene(some) if len(some) else Cameras(torch.eye(4)[None], torch.eye(3)[None], 1, 1)
    first = first.to(dtype=torch.float32)
    return Shown(
        title=title,
        opened=opened,
        out=out,
        splats=splats,
        file_from_page=file_from_page,
        up=torch.tensor([0.0, -1, 0]),
        background=torch.full((3,), 17 / 255),
        photos=(),
        first=first,
        distance=float(first.centers[0].norm()),
        labels=None,
    )


def _labels(file: Path, count: int) -> Decision | None:
    path = file.with_name(LABELS_FILE)
    return known_decision(path, count) if path.is_file() else None


def confidence(shown: Shown, splats: Splats) -> Float[Tensor, "N"] | None:
    """For each splat the number of training photos that see the surface which it draws; None where it was not kept.

    It is the mean of the photos' counts over the pixels that a splat draws, by the weight with which it draws them;
    towards 0 for one that training photos show with less than LEAST_WEIGHT. `splats` are those of `shown`, on the
    device that draws.
    """
    photos = [photo for photo in shown.photos if photo.training and photo.counts]
    if not photos:
        return None
    sums, weights = splats.means.new_zeros(2, len(splats))
    for photo in photos:
        assert photo.counts is not None
        with reading(photo.counts):
            counts = torch.from_numpy(np.load(photo.counts, allow_pickle=False).astype(np.float32))
            camera = photo.camera.resized(counts.shape[1], counts.shape[0])
        lifted = lift(project(splats, camera.to(splats.means.device), RenderConfig()), counts.to(sums)[None, ..., None])
        sums, weights = sums + lifted.sums[0, :, 0], weights + lifted.weights[0]
    return sums / weights.clamp_min(LEAST_WEIGHT)


def words(shown: Shown) -> str:
    """What it is, in one line."""
    counted = [plural(len(shown.splats), "Gaussian"), f"harmonics of degree {shown.splats.sh_degree}"]
    training = sum(photo.training for photo in shown.photos)
    if shown.photos:
        counted.append(f"{training} training and {len(shown.photos) - training} held-out photos")
    return ", ".join(counted)
