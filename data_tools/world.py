"""The normalised world of a source, and what its files leave out of coordinates that are far from the origin."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.geometry import rounding_offset

from .photos.undistort import colmap_camera
from .readers.types import Source

SAME_PLACE = 1e-9
"""Cameras whose distances are below this share of their coordinates are at one place: doubles hold little more."""


def normalisation(source: Source) -> tuple[Float[Tensor, "4 4"], Float[Tensor, "3"]]:
    """Source from world, scale and translation (float64), and the offset of written files.

    That is 0 unless float32 would move what is as near as the cameras visibly. A pixel is measured at the distance of
    one world unit, in photos of full size.

    Raises:
        InputError: all cameras are at one place.
    """
    centers = _centers(source)
    unit = _unit(source, centers)
    focal = max(float(colmap_camera(frame.camera).mean_focal_length()) for frame in source.frames)
    offset = rounding_offset(torch.from_numpy(centers), unit, unit / focal)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] *= unit
    # where the format fixes the scale, nothing is recentred, as long as float32 holds it
    matrix[:3, 3] = torch.from_numpy(centers.mean(0)) if source.world_scale is None else offset
    return matrix, offset


def offset_note(source: Source, offset: Float[Tensor, "3"]) -> tuple[str, ...]:
    """The line that says so, where there is an offset."""
    if not offset.any():
        return ()
    units = "metres" if source.units == "metres" else "units"
    rounding = float(np.abs(_centers(source)).max()) * 2**-24
    lost = (
        f"warning: {source.described_in} stores its cameras in {source.bits} bits, which move them as far at such "
        "coordinates: expect a bad result; store float64, or coordinates less an offset",
    )
    return (
        f"coordinates are far from the origin: files are written less the offset {offset_text(offset)} (scene.json), "
        f"as their float32 would round positions by up to {rounding:.3g} {units}",
        *(lost if source.bits < 64 else ()),
    )


def offset_text(offset: Float[Tensor, "3"]) -> str:
    """Three numbers in full, as they stand in scene.json and in the header of a PLY."""
    return " ".join(repr(x).removesuffix(".0") for x in offset.tolist())


def _unit(source: Source, centers: Float[ndarray, "N 3"]) -> float:
    """Units of the source in one unit of the world."""
    if source.world_scale is not None:
        return 1 / source.world_scale
    size = float(np.linalg.norm(centers - centers.mean(0), axis=1).mean())
    if len(centers) > 1 and size < SAME_PLACE * max(1.0, float(np.abs(centers).max())):
        raise InputError(f"{source.described_in}: all cameras are at one place: there is no parallax to see depth by")
    return size if len(centers) > 1 else 1.0


def _centers(source: Source) -> Float[ndarray, "N 3"]:
    return np.stack([np.linalg.inv(frame.camera_from_source)[:3, 3] for frame in source.frames])
