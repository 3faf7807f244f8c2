"""`gs-reg avatar track`: codes and head poses of a mesh prior, fitted to the landmarks that several cameras see."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from gs_reg.data_tools.heads import check_prior_folder
from gs_reg.data_tools.heads.assemble import ReadOptions
from gs_reg.data_tools.heads.tracks import CODES
from gs_reg.data_tools.heads.untracked import Untracked, read_untracked
from gs_reg.driving import Landmarker
from gs_reg.errors import InputError, MissingPart
from gs_reg.io.atomic import atomic_path
from gs_reg.priors import load_prior

from ..runs.progress import plural, say, stage_bar
from .tracking.fitting import FitConfig, Fitted, Places, fit_landmarks
from .tracking.own_head import own_anchors
from .tracking.triangulate import triangulated

WORST = 3.0
"""Pixels: landmarks that fit their views worse are not used."""


@dataclass(frozen=True)
class Config:
    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="CAPTURE")] = ""
    """Folder of a capture in NeRSemble's layout: photos of several calibrated cameras."""
    task: Path | None = None
    """MediaPipe's face_landmarker.task."""
    prior: str = "anny"
    """Mesh prior whose codes are wanted. The person's identity is not fitted: the head stays the prior's mean one, with
    one scale; how the neutral frame's landmarks differ from it is allowed for in all frames, and not written."""
    prior_folder: Path | None = None
    """Folder or file of the prior, where it is no part of a package."""
    sequences: tuple[str, ...] | None = None
    """Default all."""
    cameras: tuple[str, ...] | None = None
    """Default all; at least two."""
    neutral: str | None = None
    """Frame without expression, as SEQUENCE/NUMBER; default the one with the least scores."""
    fit: FitConfig = FitConfig()
    overwrite: bool = False
    """Replace codes.npz that are there."""


def main(config: Config) -> int:
    if not config.data:
        raise InputError("no capture named: expected its folder")
    if config.task is None:
        raise MissingPart("--task: tracking needs MediaPipe's model of faces: give the path of face_landmarker.task")
    capture = read_untracked(Path(config.data), ReadOptions(sequences=config.sequences, cameras=config.cameras))
    check(config, capture)
    picked = frame_of(capture, config.neutral) if config.neutral else None
    check_prior_folder(config.prior, config.prior_folder)
    prior = load_prior(config.prior, config.prior_folder)
    count = len(capture) * len(capture.cameras)
    say(f"{plural(len(capture), 'frame')} of {plural(len(capture.cameras), 'camera')}: {count:,} photos to look at")
    with Landmarker(config.task) as detector:
        places = Places(prior, None, own_anchors(prior, detector))
        used = int((places.anchors.weight > 0).sum())
        say(f"prior {prior.name}: {used} of {len(places.anchors.weight)} landmarks have a place on its mesh")
        with stage_bar("landmarks") as progress:
            points, confidence, scores = landmarks_of(capture, detector, progress)
    neutral = least(scores, confidence) if picked is None else picked
    say(f"neutral frame: {capture.name_of(neutral)}")
    with stage_bar("codes") as progress:
        fitted = fit_landmarks(places, points, confidence, neutral, config.fit, progress)
    write(capture, fitted, prior.name, prior.unit_m)
    say(f"the identity is not fitted: the avatar starts from the mean head of {prior.name}")
    say("`gs-reg avatar check` shows whether the codes fit the photos")
    return 0


def check(config: Config, capture: Untracked) -> None:
    """Raises InputError where nothing could be triangulated, or codes would be replaced."""
    if len(capture.cameras) < 2:
        raise InputError(f"{capture.folder}: {len(capture.cameras)} camera: expected 2 or more, to see in depth")
    there = [take.folder / CODES for take in capture.takes if (take.folder / CODES).exists()]
    if there and not config.overwrite:
        raise InputError(f"{there[0]}: there are codes already: --overwrite replaces them")


def landmarks_of(
    capture: Untracked, detector: Landmarker, progress: Callable[[str, float], None]
) -> tuple[Float[Tensor, "T L 3"], Float[Tensor, "T L"], Float[Tensor, "T 52"]]:
    """Landmarks in the world, how far to trust them (0 = not at all), and the detector's mean scores."""
    points, confidence, scores, began = [], [], [], time.monotonic()
    for frame in range(len(capture)):
        left = (time.monotonic() - began) / max(frame, 1) * (len(capture) - frame) / 60
        progress(f"{capture.name_of(frame)}, {left:.1f} min left", frame / len(capture))
        faces = [detector(capture.photo(frame, camera).numpy()) for camera in range(len(capture.cameras))]
        rows = [camera for camera, face in enumerate(faces) if face is not None]
        seen = [face for face in faces if face is not None]
        if len(seen) < 2:
            points.append(None)
            confidence.append(None)
            scores.append(torch.zeros(52) if not seen else seen[0].arkit)
            continue
        # far sides are guessed by the detector: a view counts by how much it is from the front
        facing = torch.stack([face.matrix[2, 2] / face.matrix[:3, 2].norm() for face in seen]).clamp_min(0.05) ** 4
        pixels = torch.stack([face.landmarks for face in seen])
        trust = facing[:, None].expand(pixels.shape[:2])
        places, error = triangulated(capture.cameras[torch.tensor(rows)], pixels, trust)
        points.append(places)
        confidence.append((error < WORST).float())
        scores.append(torch.stack([face.arkit for face in seen]).mean(0))
    known = next((p for p in points if p is not None), None)
    if known is None:
        raise InputError(f"{capture.folder}: no frame shows a face to two cameras or more")
    blank = torch.zeros_like(known), torch.zeros(len(known))
    return (
        torch.stack([blank[0] if p is None else p for p in points]),
        torch.stack([blank[1] if c is None else c for c in confidence]),
        torch.stack(scores),
    )


def least(scores: Float[Tensor, "T 52"], confidence: Float[Tensor, "T L"]) -> int:
    """The frame with the least expression, of those that have landmarks."""
    return int(scores.norm(dim=1).masked_fill(confidence.sum(1) == 0, torch.inf).argmin())


def frame_of(capture: Untracked, name: str) -> int:
    """
    Raises:
        InputError: no such frame.
    """
    for frame in range(len(capture)):
        if capture.name_of(frame) == name:
            return frame
    first, last = capture.name_of(0), capture.name_of(len(capture) - 1)
    raise InputError(f"--neutral {name}: no such frame: expected SEQUENCE/NUMBER, from {first} to {last}")


def write(capture: Untracked, fitted: Fitted, prior: str, unit_m: float) -> None:
    """codes.npz of each sequence."""
    matrices = fitted.pose.matrices().double()
    matrices[:, :3, :3] /= unit_m  # world from head, in metres
    for take in capture.takes:
        rows = slice(take.rows.start, take.rows.stop)
        with atomic_path(take.folder / CODES) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                z=fitted.codes[rows].numpy().astype(np.float32),
                head_pose=matrices[rows].numpy(),
                prior=np.array(prior),
            )
        error = fitted.error[rows]
        missed = int(error.isnan().sum())
        words = f"; {plural(missed, 'frame')} without a face took the code before" if missed else ""
        median = float(error[~error.isnan()].median()) * 1000 * unit_m if missed < len(error) else float("nan")
        say(f"wrote {take.folder / CODES}: {len(error)} frames, landmarks within {median:.2f} mm (median){words}")
