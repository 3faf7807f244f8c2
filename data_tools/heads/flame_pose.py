"""Head poses that are told inside of FLAME, about its root joint, as poses of the whole head outside of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.priors.flame_rig import EXPRESSIONS, FlameRig
from gs_reg.priors.types import ExpressionPrior


def outside(
    rotvec: Float[ndarray, "T 3"],
    translation: Float[ndarray, "T 3"],
    codes: Float[ndarray, "T dim"],
    prior: ExpressionPrior | None,
    ident: Float[Tensor, "I"],
    path: Path,
) -> tuple[Float[ndarray, "T 3 3"], Float[ndarray, "T 3"]]:
    """FLAME turns about its root joint j: x = R (v - j) + j + t = R v + (j - R j + t).

    Raises:
        InputError: the prior is no FLAME.
    """
    from scipy.spatial.transform import Rotation

    rig = getattr(prior, "rig", None)
    if prior is None or not isinstance(rig, FlameRig):
        got = "no prior" if prior is None else prior.name
        raise InputError(f"{path}: a pose about FLAME's root joint: expected the prior flame2023, got {got}")
    root = root_joints(rig, torch.from_numpy(codes).float(), ident).double().numpy()
    rotation = Rotation.from_rotvec(rotvec).as_matrix()
    return rotation, root - np.einsum("tij,tj->ti", rotation, root) + translation


def root_joints(rig: FlameRig, codes: Float[Tensor, "T dim"], ident: Float[Tensor, "I"]) -> Float[Tensor, "T 3"]:
    """In metres; of the person, and a little of the expression."""
    row = rig.joint_regressor[0]
    person = row @ rig.template + ident.to(row) @ (rig.shapes.transpose(1, 2) @ row)
    return person + codes[:, :EXPRESSIONS].to(row) @ (rig.expressions.transpose(1, 2) @ row)
