"""USD with the schema ParticleField3DGaussianSplat, through usd-core: written, not read."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gs_reg.errors import MissingPart
from gs_reg.io.atomic import atomic_path, temporary_sibling
from gs_reg.io.frames import flip_axes
from gs_reg.io.quantised import check_and_clean, unit_quats
from gs_reg.sh import sh_to_rgb
from gs_reg.types import Splats

AXES = (1, -1, -1)
"""The stage is y up with cameras that look along -z, as USD's are; ours are right, down, forward."""
SUFFIXES = (".usdz", ".usda", ".usdc", ".usd")


def save_usd(path: str | Path, splats: Splats, offset: Sequence[float] | None = None) -> None:
    """Writes float32 values; `offset` is noted in the stage's customLayerData.

    Raises:
        InputError: no splats, or a degree above 3.
        MissingPart: usd-core is not installed.
    """
    path = Path(path)
    utilities = _pxr("UsdUtils")
    splats = flip_axes(AXES, check_and_clean(path, splats))
    with atomic_path(path) as temporary:
        if path.suffix.lower() != ".usdz":
            _write_stage(temporary, splats, offset)
            return
        inner = temporary_sibling(path.with_suffix(".usdc"))
        try:
            _write_stage(inner, splats, offset)
            utilities.CreateNewUsdzPackage(str(inner), str(temporary), "splats.usdc")
        finally:
            inner.unlink(missing_ok=True)


def _pxr(name: str) -> Any:
    """A module of usd-core, whose types are not stated; raises MissingPart."""
    try:
        return importlib.import_module(f"pxr.{name}")
    except ImportError as error:
        raise MissingPart("USD needs usd-core: pip install 'gs-reg[usd]'") from error


def _write_stage(path: Path, splats: Splats, offset: Sequence[float] | None) -> None:
    Gf, Usd, UsdGeom, UsdVol, Vt = map(_pxr, ("Gf", "Usd", "UsdGeom", "UsdVol", "Vt"))
    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    field = UsdVol.ParticleField3DGaussianSplat.Define(stage, "/splats")
    prim = field.GetPrim()
    stage.SetDefaultPrim(prim)
    if offset is not None:
        stage.GetRootLayer().customLayerData = {"offset": Gf.Vec3d(*map(float, offset))}

    def columns(tensor: torch.Tensor) -> np.ndarray:
        return np.ascontiguousarray(tensor.float().numpy())

    reach = 3 * splats.scales.amax(1, keepdim=True)
    extent = torch.stack([(splats.means - reach).amin(0), (splats.means + reach).amax(0)])
    values = {
        "positions": Vt.Vec3fArray.FromNumpy(columns(splats.means)),
        "orientations": Vt.QuatfArray.FromNumpy(columns(unit_quats(splats.quats)[:, [1, 2, 3, 0]])),  # w is last inside
        "scales": Vt.Vec3fArray.FromNumpy(columns(splats.scales)),
        "opacities": Vt.FloatArray.FromNumpy(columns(splats.opacities)),
        "radiance:sphericalHarmonicsDegree": splats.sh_degree,
        "radiance:sphericalHarmonicsCoefficients": Vt.Vec3fArray.FromNumpy(columns(splats.sh.flatten(0, 1))),
        "primvars:displayColor": Vt.Vec3fArray.FromNumpy(columns(sh_to_rgb(splats.sh[:, 0]).clamp(0, 1))),
        "extent": Vt.Vec3fArray.FromNumpy(columns(extent)),
    }
    for name, value in values.items():
        prim.GetAttribute(name).Set(value)
    UsdGeom.PrimvarsAPI(prim).GetPrimvar("displayColor").SetInterpolation(UsdGeom.Tokens.vertex)
    stage.GetRootLayer().Save()
