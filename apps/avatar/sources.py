"""The capture and the prior whose codes it has, checked against each other before anything long starts."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gs_reg.data_tools.heads import (
    Capture,
    ReadOptions,
    check_codes,
    check_prior_folder,
    gaussian_avatars,
    read_capture,
)
from gs_reg.errors import InputError
from gs_reg.priors import PRIORS, ExpressionPrior, load_prior
from gs_reg.priors.mesh import MeshPrior

FLAME = "flame2023"
PRIOR_POINTS = "prior_points"
"""Their entry in dataset.json."""


@dataclass(frozen=True)
class Source:
    capture: Capture
    prior: ExpressionPrior

    @property
    def ident(self) -> Float[Tensor, "I"] | None:
        return self.capture.ident

    @property
    def codes(self) -> Float[Tensor, "F D"]:
        """Of the training frames."""
        return self.capture.tracks.codes[list(self.capture.train_frames)]


def open_source(
    folder: str,
    prior_folder: Path | None = None,
    held_out: Sequence[str] | None = None,
    held_out_cameras: Sequence[str] | None = None,
    width: int | None = None,
) -> Source:
    """Reads a capture and loads its prior; the headers of all picture files are looked at.

    Raises:
        InputError: no capture, a split that names what is not there or leaves nothing, codes that are not the prior's,
            or a file that is no picture of its camera's size.
        MissingPart: a prior that must be brought.
    """
    if not folder:
        raise InputError("no capture named: expected its folder; `gs-reg avatar synth` makes one")
    held = (None if names is None else tuple(names) for names in (held_out, held_out_cameras))
    options = ReadOptions(width, held_out_sequences=next(held), held_out_cameras=next(held))
    inside = None
    if gaussian_avatars.find(Path(folder)):  # its poses are told about a joint of FLAME's, which only the prior knows
        if prior_folder is None:
            raise InputError(
                f"{folder}: poses inside of FLAME: give the file or folder of FLAME 2023 with --prior-folder"
            )
        inside = load_prior(FLAME, prior_folder)
    capture = read_capture(Path(folder), options, inside)
    prior = _prior_of(capture, prior_folder) if inside is None else inside
    check_codes(capture, prior)
    _check_ident(capture, prior)
    if capture.files is not None:
        capture.files.check_headers()
    return Source(within_ends(capture, prior), prior)


def ended(prior: ExpressionPrior) -> Bool[Tensor, "dim"]:
    """Channels that are neutral at an end of their range, as coefficients of blendshapes are."""
    return (prior.neutral == prior.lo) | (prior.neutral == prior.hi)


def within_ends(capture: Capture, prior: ExpressionPrior) -> Capture:
    """With each code beyond an end of its channel at that end: what a tracker says there is noise."""
    codes = capture.tracks.codes
    lo, hi = prior.lo.to(codes), prior.hi.to(codes)
    inside = torch.where(ended(prior).to(codes.device), codes.clamp(lo, hi), codes)
    beyond = float((inside != codes).float().mean())
    if not beyond:
        return capture
    note = (
        f"{beyond:.0%} of the codes are beyond the ends of their channels, as below 0 of coefficients: taken as those"
    )
    tracks = dataclasses.replace(capture.tracks, codes=inside)
    return dataclasses.replace(capture, tracks=tracks, notes=(*capture.notes, note))


def check_pixels(capture: Capture, frames: Iterable[int], cameras: Sequence[int]) -> None:
    """Reads picture files of some frames and cameras whole.

    Raises:
        InputError: one is broken or of another size than its camera's others, or a mask is empty.
    """
    if capture.files is None:
        return
    for frame in frames:
        for camera in cameras:
            capture.files.check_pixels(frame, camera)


def _prior_of(capture: Capture, folder: Path | None) -> ExpressionPrior:
    """The one whose codes the capture has; what is wrong with it is told with the capture's name."""
    check_prior_folder(capture.prior, folder)
    try:
        return load_prior(capture.prior, folder)
    except InputError as error:
        remedy = ""
        if folder is None and capture.prior in PRIORS:
            remedy = " with --prior-folder"
        elif folder is not None and not folder.exists():
            remedy = ": name where it is with --prior-folder"
        raise InputError(f"{capture.folder}: its codes: {error}{remedy}") from None


def _check_ident(capture: Capture, prior: ExpressionPrior) -> None:
    """Raises InputError where the person's numbers are not as many as the prior has."""
    if capture.ident is None or not isinstance(prior, MeshPrior):
        return
    wanted, got = len(prior.random_ident(0)), len(capture.ident)
    if wanted != got:
        raise InputError(
            f"{capture.folder}: ident of {got} numbers in its codes: expected {wanted}, as {prior.name} has"
        )


def dataset_of(source: Source) -> dict[str, Any]:
    """What a run keeps of its capture: names, split, and a digest of cameras, codes and poses."""
    capture = source.capture
    return {
        "folder": str(capture.folder),
        "prior": capture.prior,
        "prior_licence": source.prior.licence,
        "size": [capture.cameras.width, capture.cameras.height],
        "cameras": list(capture.camera_names),
        "held_out_cameras": list(capture.held_out_cameras),
        "sequences": {s.name: len(s) for s in capture.sequences},
        "held_out_sequences": list(capture.held_out_sequences),
        "notes": list(capture.notes),
        "sha256": digest_of(capture),
        PRIOR_POINTS: [[round(x, 6) for x in point] for point in prior_points(source).tolist()],
    }


def prior_points(source: Source) -> Float[Tensor, "n 3"]:
    """Where points of a grid about the head go with all that a face can do at its utmost: they tell a prior's files
    from others."""
    prior, ident = source.prior, source.ident
    along = torch.linspace(-0.3, 0.3, 3)
    points = torch.cartesian_prod(along, along, along)
    moved = prior.forward(points, prior.hi, ident)
    if moved is None:
        back = prior.backward(points, prior.hi, ident)
        assert back is not None
        moved = back[0]
    return moved.detach().cpu()


def same_prior(source: Source, points: list[list[float]] | None) -> bool:
    """Whether these are its `prior_points`, but for what another machine rounds otherwise; None = an older run's."""
    if points is None:
        return True
    now = prior_points(source)
    return torch.allclose(now, torch.tensor(points).to(now), atol=1e-4)


def digest_of(capture: Capture) -> str:
    """Of cameras, codes, poses and names."""
    hashed = hashlib.sha256()
    pose, cameras = capture.tracks.pose, capture.cameras
    tensors = [capture.tracks.codes, pose.rotation, pose.translation, pose.scale, cameras.viewmats, cameras.Ks]
    tensors += [] if capture.ident is None else [capture.ident]
    for tensor in tensors:
        hashed.update(tensor.detach().to("cpu", torch.float64).contiguous().numpy().tobytes())
    hashed.update("\n".join((*capture.camera_names, *capture.frame_names)).encode())
    return hashed.hexdigest()


def described(source: Source) -> list[str]:
    """What was understood of the capture, a line each."""
    capture = source.capture
    held = ", ".join(capture.held_out_sequences) or "none"
    return [
        f"{len(capture.sequences)} sequences of {len(capture)} frames; held out: {held}, "
        f"{len(capture.test_frames)} frames",
        f"{len(capture.camera_names)} cameras of {capture.cameras.width}x{capture.cameras.height}; held out: "
        f"{', '.join(capture.held_out_cameras) or 'none'}",
        f"codes of prior {capture.prior}, {source.prior.dim} channels ({source.prior.licence})",
        *capture.notes,
    ]
