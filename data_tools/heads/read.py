"""Reads a capture of whichever layout a folder has."""

from __future__ import annotations

from pathlib import Path

from gs_reg.errors import InputError
from gs_reg.priors import ExpressionPrior
from gs_reg.priors import check_codes as check_track

from . import gaussian_avatars, gha, nersemble
from .assemble import ReadOptions
from .types import Capture

LOOKED_FOR = (
    "calibration/camera_params.json with sequences/ (NeRSemble 2, its benchmark, gs-reg avatar synth)",
    "camera_params/PID/camera_params.json (NeRSemble 1)",
    "transforms_train.json with flame_param_path (GaussianAvatars, VHAP)",
    "cameras/FRAME/camera_*.npz with params/ (Gaussian Head Avatar)",
)
PACKAGED = ("anny", "toy")
"""Priors that come with a package."""


def read_capture(
    folder: str | Path, options: ReadOptions = ReadOptions(), prior: ExpressionPrior | None = None
) -> Capture:
    """The capture in a folder. `prior` is needed where head poses are told inside of FLAME (GaussianAvatars, VHAP).

    Raises:
        InputError: no capture, or something in it is missing or does not fit; one line.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{folder}: no such folder: expected a capture of a head")
    if nersemble.find(root, options.participant):
        return nersemble.read(root, options)
    if gaussian_avatars.find(root):
        return gaussian_avatars.read(root, options, prior)
    if gha.find(root):
        return gha.read(root, options)
    raise InputError(f"{folder}: no capture of a head: looked for {'; '.join(LOOKED_FOR)}")


def check_prior_folder(prior: str, folder: Path | None) -> None:
    """
    Raises:
        InputError: a folder for a prior that reads none.
    """
    if folder is not None and prior in PACKAGED:
        raise InputError(
            f"--prior-folder {folder}: prior {prior} comes with its package and needs no folder: leave the flag out"
        )


def check_codes(capture: Capture, prior: ExpressionPrior) -> None:
    """That the codes of a capture belong to a prior.

    Raises:
        InputError: another prior, another version of it, or codes of another size.
    """
    try:
        check_track(capture.tracks, prior)
    except InputError as error:
        raise InputError(f"{capture.folder}: {error}") from None
