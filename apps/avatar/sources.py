"""The capture and the prior whose codes it has, checked against each other before anything long starts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.data_tools.heads import read_capture
from gs_reg.data_tools.heads.types import Capture
from gs_reg.errors import InputError
from gs_reg.priors import ExpressionPrior, load_prior


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
) -> Source:
    """Reads a capture and loads its prior.

    Raises:
        InputError: no capture, a split that names what is not there or leaves nothing, or codes that are not the
            prior's.
        MissingPart: a prior that must be brought.
    """
    if not folder:
        raise InputError("no capture named: expected its folder; `gs-reg avatar synth` makes one")
    capture = read_capture(Path(folder))
    if held_out is not None:
        for name in held_out:
            capture.sequence(name)
        capture = replace(capture, held_out_sequences=tuple(held_out))
    if held_out_cameras is not None:
        for name in held_out_cameras:
            capture.camera(name)
        capture = replace(capture, held_out_cameras=tuple(held_out_cameras))
    prior = load_prior(capture.prior, prior_folder)
    check_source(capture, prior)
    return Source(capture, prior)


def check_source(capture: Capture, prior: ExpressionPrior) -> None:
    """Raises InputError where the capture cannot train or test an avatar of this prior."""
    folder, codes = capture.folder, capture.tracks.codes
    if codes.shape[1] != prior.dim:
        raise InputError(
            f"{folder}: its codes have {codes.shape[1]} channels, and those of prior {prior.name} have {prior.dim}; "
            "were they tracked with another version of it?"
        )
    bad = (~codes.isfinite().all(1)).nonzero()[:, 0]
    if len(bad):
        raise InputError(
            f"{folder}: the code of frame {capture.frame_names[int(bad[0])]} has a value that is no number"
        )
    for sequence in capture.sequences:
        if len(sequence) < 2:
            raise InputError(
                f"{folder}: sequence {sequence.name} has {len(sequence)} frame: expected at least 2, or leave it out"
            )
    if not capture.train_frames:
        raise InputError(f"{folder}: all of its sequences are held out: expected at least one to train on")
    if not capture.train_cameras:
        raise InputError(f"{folder}: all of its cameras are held out: expected at least one to train with")
    if bool((codes == codes[:1]).all()):
        raise InputError(f"{folder}: all of its frames have the same code: an expression to learn from is missing")


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
    }


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
