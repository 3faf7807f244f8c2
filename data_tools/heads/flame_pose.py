"""Head poses that are told inside of FLAME, about its root joint, as poses of the whole head outside of it."""

from __future__ import annotations

from pathlib import Path

from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.priors.types import ExpressionPrior


def outside(
    rotvec: Float[ndarray, "T 3"],
    translation: Float[ndarray, "T 3"],
    prior: ExpressionPrior | None,
    ident: Float[Tensor, "I"],
    path: Path,
) -> tuple[Float[ndarray, "T 3 3"], Float[ndarray, "T 3"]]:
    """FLAME turns about its root joint j, which depends on the person: x = R (v - j) + j + t = R v + (j - R j + t).

    Raises:
        InputError: the prior knows no root joint.
    """
    from scipy.spatial.transform import Rotation

    joint = getattr(getattr(prior, "rig", None), "root_joint", None)
    if prior is None or joint is None:
        got = "no prior" if prior is None else prior.name
        raise InputError(f"{path}: a pose about FLAME's root joint: expected the prior flame2023, got {got}")
    root = joint(ident).double().numpy() * prior.unit_m
    rotation = Rotation.from_rotvec(rotvec).as_matrix()
    return rotation, root - rotation @ root + translation
