"""Posed clouds of an avatar as files of plain Gaussians: what a field bent is folded into scales and quaternions."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.io import save_splats
from gs_reg.io.frames import sh_rotation
from gs_reg.rotations import quat_to_rotmat, rotmat_to_quat
from gs_reg.types import Splats

FILE_COEFFICIENTS = 16
"""Of spherical harmonics in the file, degree 3: strict viewers read rows of 62 floats and no others."""
FLATTEST = 1e-8
"""Least over largest scale: below it float64 has lost the smaller eigenvalue."""


def plain_splats(splats: Splats, head_rotation: Float[Tensor, "3 3"] | None = None) -> Splats:
    """The splats without warps: scales descending, axes right-handed; harmonics padded with zeros to degree 3.

    Harmonics that belong to the head's frame are turned by `head_rotation`, world from head.

    Raises:
        ValueError: colours of a network instead of harmonics, which no file holds, or a degree above 3.
    """
    if splats.colors is not None:
        raise ValueError("colors: expected harmonics, got colours for cameras: take the avatar without its network")
    if splats.sh.shape[1] > FILE_COEFFICIENTS:
        raise ValueError(f"sh: expected a degree of at most 3, got {splats.sh.shape[1]} coefficients")
    out = splats if splats.warps is None else _unwarped(splats, splats.warps)
    sh = out.sh
    if head_rotation is not None:
        turn = sh_rotation(head_rotation, out.sh_degree).to(sh.device)
        sh = torch.einsum("kl,nlc->nkc", turn, sh.double()).to(sh)
    return replace(out, sh=F.pad(sh, (0, 0, 0, FILE_COEFFICIENTS - sh.shape[1])))


def _unwarped(splats: Splats, warps: Float[Tensor, "N 3 3"]) -> Splats:
    """The same covariances by their eigenvectors, in double precision as flat splats lose their thin axis in float."""
    half = warps.double() @ (quat_to_rotmat(splats.quats.double()) * splats.scales.double()[:, None])
    # rows of NaN stop the decomposition of all others
    finite = half.isfinite().flatten(1).all(1)
    variances, axes = torch.linalg.eigh((half @ half.mT).where(finite[:, None, None], torch.eye(3).to(half)))
    variances, axes = variances.flip(-1), axes.flip(-1)
    axes = torch.cat([axes[..., :2], axes[..., 2:] * torch.linalg.det(axes)[:, None, None]], dim=-1)
    floor = (variances[:, :1] * FLATTEST**2).clamp_min(torch.finfo(torch.float64).tiny)
    log_scales = variances.maximum(floor).log() / 2
    return replace(
        splats,
        quats=rotmat_to_quat(axes).to(splats.quats),
        log_scales=log_scales.where(finite[:, None], torch.nan).to(splats.log_scales),
        warps=None,
    )


def save_sequence(
    folder: str | Path,
    frames: Iterable[Splats],
    head_rotations: Float[Tensor, "T 3 3"] | None = None,
    suffix: Literal[".ply", ".spz"] = ".ply",
) -> list[Path]:
    """Writes frame_00000.ply and so on, posed clouds as plain_splats makes them, and returns the files.

    Other frames in the folder, of an earlier and longer sequence, are removed. A warning that holds for many frames is
    given for the first of them.

    Raises:
        InputError: no frames, or another number of rotations.
    """
    folder, written = Path(folder), []
    folder.mkdir(parents=True, exist_ok=True)
    with _warned_once():
        for t, splats in enumerate(frames):
            if head_rotations is not None and t >= len(head_rotations):
                raise InputError(f"{folder}: expected a head rotation for every frame, got {len(head_rotations)}")
            rotation = None if head_rotations is None else head_rotations[t]
            path = folder / f"frame_{t:05d}{suffix}"
            save_splats(path, plain_splats(splats.detach(), rotation))
            written.append(path)
    if not written:
        raise InputError(f"{folder}: expected at least one frame to write, got none")
    for path in {path for kind in ("ply", "spz") for path in folder.glob(f"frame_?????.{kind}")} - set(written):
        path.unlink()
    return written


@contextmanager
def _warned_once() -> Iterator[None]:
    """Lets each warning of the writers pass once, whatever the file and the numbers in it."""
    said = set()

    def fresh(record: logging.LogRecord) -> bool:
        arguments = record.args if isinstance(record.args, tuple) else ()
        words = record.msg, *(word for word in arguments[1:] if isinstance(word, str))
        seen = words in said
        said.add(words)
        return not seen

    # a filter holds for the logger it is added to, not for those below
    names = [name for name in logging.Logger.manager.loggerDict if f"{name}.".startswith("gs_reg.io.")]
    loggers = [logging.getLogger(name) for name in names]
    for logger in loggers:
        logger.addFilter(fresh)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(fresh)
