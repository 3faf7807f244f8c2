"""FLAME's mathematics: shapes added to a template, corrected by the pose and skinned to five joints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.priors.types import UNIT_M
from gs_reg.tensor_dataclass import TensorDataclass

EXPRESSIONS, SHAPES = 100, 300
NECK, JAW = 1, 2
"""Joints; 0 is the root, 3 and 4 are the left eye and the right."""


@dataclass(frozen=True)
class FlameRig(TensorDataclass):
    """The code is 100 expressions, then axis-angle rotations in radians: jaw, left eye, right eye, neck.

    A person is 300 coefficients of principal components, each about N(0, 1).
    """

    template: Float[Tensor, "V 3"]
    shapes: Float[Tensor, "300 V 3"]
    expressions: Float[Tensor, "100 V 3"]
    correctives: Float[Tensor, "36 V 3"]
    """By the rotations of joints 1 to 4 less the unit matrix, row after row."""
    joint_regressor: Float[Tensor, "5 V"]
    weights: Float[Tensor, "V 5"]
    parents: Int[Tensor, "5"]

    def vertices(self, z: Float[Tensor, "*B dim"], ident: Float[Tensor, "I"] | None = None) -> Float[Tensor, "*B V 3"]:
        person = self.template
        if ident is not None:
            person = person + (ident.to(person) @ self.shapes.flatten(1)).view_as(person)
        z = z.to(person)
        shaped = person + (z[..., :EXPRESSIONS] @ self.expressions.flatten(1)).unflatten(-1, person.shape)
        jaw, left, right, neck = rotations(z[..., EXPRESSIONS:].unflatten(-1, (4, 3))).unbind(-3)
        turns = torch.stack([torch.eye(3).to(z).expand_as(neck), neck, jaw, left, right], dim=-3)
        bent = (turns[..., 1:, :, :] - torch.eye(3).to(z)).flatten(-3)
        posed = shaped + (bent @ self.correctives.flatten(1)).unflatten(-1, person.shape)
        skin = torch.einsum("vj,...jab->...vab", self.weights, self._transforms(turns, self.joint_regressor @ shaped))
        return ((skin[..., :3] @ posed[..., None])[..., 0] + skin[..., 3]) / UNIT_M

    def from_arkit(self, a52: Float[Tensor, "*B 52"]) -> None:
        """A learned bridge is needed."""
        return None

    def random_ident(self, seed: int) -> Float[Tensor, "I"]:
        """A person of the first 50 components."""
        drawn = np.zeros(SHAPES)
        drawn[:50] = np.random.default_rng(seed).standard_normal(50)
        return torch.from_numpy(drawn).to(self.template)

    def _transforms(
        self, turns: Float[Tensor, "*B 5 3 3"], joints: Float[Tensor, "*B 5 3"]
    ) -> Float[Tensor, "*B 5 3 4"]:
        """Of each joint: turns about the joints up to the root, from the rest pose."""
        worlds: list[tuple[Tensor, Tensor]] = []
        for joint, parent in enumerate(self.parents.tolist()):
            turn, place = turns[..., joint, :, :], joints[..., joint, :]
            if joint:
                above, origin = worlds[parent]
                step = place - joints[..., parent, :]
                turn, place = above @ turn, (above @ step[..., None])[..., 0] + origin
            worlds.append((turn, place))
        turned = torch.stack([turn for turn, _ in worlds], dim=-3)
        places = torch.stack([place for _, place in worlds], dim=-2)
        return torch.cat([turned, (places - (turned @ joints[..., None])[..., 0])[..., None]], dim=-1)


def rotations(vectors: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3 3"]:
    """Rotation matrices of axis-angle vectors."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    return torch.linalg.matrix_exp(skew)


def with_strips(rig: FlameRig, strips: Float[Tensor, "S V 3"], near: Int[Tensor, "M"]) -> FlameRig:
    """The rig with two strips of vertices more, upper teeth and lower, that follow the mean shape of `near` vertices.

    The upper strip is skinned to the head, which hangs from the neck, the lower to the jaw; neither has an expression.
    """
    count = strips.shape[0] * strips.shape[1]
    bones = torch.tensor([NECK, JAW]).repeat_interleave(strips.shape[1])
    return FlameRig(
        torch.cat([rig.template, strips.flatten(0, 1)]),
        torch.cat([rig.shapes, rig.shapes[:, near].mean(1, keepdim=True).expand(-1, count, -1)], dim=1),
        F.pad(rig.expressions, (0, 0, 0, count)),
        F.pad(rig.correctives, (0, 0, 0, count)),
        F.pad(rig.joint_regressor, (0, count)),
        torch.cat([rig.weights, F.one_hot(bones, 5).to(rig.weights)]),
        rig.parents,
    )
