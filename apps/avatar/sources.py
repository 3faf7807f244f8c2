"""The capture and the prior whose codes it has, checked against each other before anything long starts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gs_reg.data_tools.heads import Capture, ReadOptions, check_codes, gaussian_avatars, read_capture
from gs_reg.errors import InputError
from gs_reg.priors import ExpressionPrior, load_prior

FLAME = "flame2023"


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
    """Reads a capture and loads its prior.

    Raises:
        InputError: no capture, a split that names what is not there or leaves nothing, or codes that are not the
            prior's.
        MissingPart: a prior that must be brought.
    """
    if not folder:
        raise InputError("no capture named: expected its folder; `gs-reg avatar synth` makes one")
    held = (None if names is None else tuple(names) for names in (held_out, held_out_cameras))
    options = ReadOptions(width, held_out_sequences=next(held), held_out_cameras=next(held))
    # GaussianAvatars' poses are told about a joint of FLAME's, which only the prior knows
    inside = load_prior(FLAME, prior_folder) if prior_folder and gaussian_avatars.find(Path(folder)) else None
    capture = read_capture(Path(folder), options, inside)
    prior = load_prior(capture.prior, prior_folder) if inside is None else inside
    check_codes(capture, prior)
    return Source(capture, prior)


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
