"""What an expression prior of heads says: parts, samples of its surface, head poses and tracks of codes.

Frames: world W is the data set's; head H is in metres, x to the subject's left, y up, z out of the face; canonical C is
H divided by `unit_m`. Priors speak C throughout.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.geometry import similarity_scale
from gs_reg.tensor_dataclass import TensorDataclass

UNIT_M = 0.25
"""Metres in one unit of the canonical frame, of every prior."""
EYES = (0.0, 0.03, 0.03)
"""Where the midpoint of the eyeballs lies in the head frame of anny and ICT, in metres."""


class Part(enum.IntEnum):
    """What a point of a head belongs to."""

    SKIN = 0
    LIP_UPPER = 1
    LIP_LOWER = 2
    LID_UPPER = 3
    LID_LOWER = 4
    EYE = 5
    LASH_UPPER = 6
    TOOTH_UPPER = 7
    TOOTH_LOWER = 8
    TONGUE_GUM = 9
    """The tongue and the lower gums."""
    SOCKET_UPPER = 10
    """The wall of the mouth's inside that stays with the skull."""
    SCALP = 11
    EAR = 12
    NECK = 13
    OTHER = 14
    LASH_LOWER = 15
    SOCKET_LOWER = 16
    """What goes down with the jaw; with closed lips it touches the upper one."""
    GUM_UPPER = 17
    """Upper gums and palate, which the tongue touches while the mouth is closed; anny has none."""


@dataclass(frozen=True)
class SurfaceSample(TensorDataclass):
    """Points on a neutral head; triangles and barycentric coordinates only of priors that are meshes."""

    points: Float[Tensor, "n 3"]
    normals: Float[Tensor, "n 3"]
    parts: Int[Tensor, "n"]
    triangles: Int[Tensor, "n"] | None = None
    barycentric: Float[Tensor, "n 3"] | None = None


@dataclass(frozen=True)
class HeadPose(TensorDataclass):
    """Where the head is at each of T times: x_W = scale · rotation · (unit_m · x_C) + translation."""

    rotation: Float[Tensor, "T 3 3"]
    translation: Float[Tensor, "T 3"]
    scale: Float[Tensor, "T"]
    unit_m: float = UNIT_M

    @staticmethod
    def identity(count: int) -> HeadPose:
        """Poses whose world is the head frame."""
        return HeadPose(torch.eye(3).repeat(count, 1, 1), torch.zeros(count, 3), torch.ones(count))

    @staticmethod
    def of_matrices(matrices: Float[Tensor, "T 4 4"], unit_m: float = UNIT_M) -> HeadPose:
        """Poses of such `matrices()`.

        Raises:
            ValueError: a matrix is sheared or mirrored.
        """
        scales = matrices.new_tensor([similarity_scale(matrix) for matrix in matrices])
        rotation = matrices[:, :3, :3] / scales[:, None, None]
        return HeadPose(rotation.float(), matrices[:, :3, 3].float(), (scales / unit_m).float(), unit_m)

    def __len__(self) -> int:
        return len(self.rotation)

    def __getitem__(self, index: slice | Int[Tensor, "n"] | list[int]) -> HeadPose:
        return HeadPose(self.rotation[index], self.translation[index], self.scale[index], self.unit_m)

    def matrices(self) -> Float[Tensor, "T 4 4"]:
        """world_from_canonical, metres of a unit included."""
        linear = self.rotation * (self.scale * self.unit_m)[:, None, None]
        top = torch.cat([linear, self.translation[:, :, None]], dim=-1)
        bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(self), 1, 4)
        return torch.cat([top, bottom], dim=-2)


@dataclass(frozen=True)
class Track(TensorDataclass):
    """What a tracker of faces says of T frames: codes of one prior, head poses and, where known, ARKit coefficients."""

    codes: Float[Tensor, "T dim"]
    pose: HeadPose
    prior: str
    names: tuple[str, ...]
    """Of the frames."""
    arkit: Float[Tensor, "T 52"] | None = None

    def __len__(self) -> int:
        return len(self.codes)


@runtime_checkable
class ExpressionPrior(Protocol):
    """A parametric head: how its points move with an expression code. `ident` is the person, None the mean head.

    Codes and points may carry the same leading axes: one code for each set of N points.
    """

    @property
    def name(self) -> str: ...
    @property
    def licence(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def channels(self) -> tuple[str, ...]:
        """A name for each channel of the code."""
        ...

    @property
    def unit_m(self) -> float: ...
    @property
    def neutral(self) -> Float[Tensor, "dim"]: ...
    @property
    def lo(self) -> Float[Tensor, "dim"]: ...
    @property
    def hi(self) -> Float[Tensor, "dim"]: ...

    def surface(self, ident: Float[Tensor, "I"] | None, n: int, seed: int) -> SurfaceSample:
        """n points of the neutral surface, even by area."""
        ...

    def forward(
        self,
        x: Float[Tensor, "*B N 3"],
        z: Float[Tensor, "*B dim"],
        ident: Float[Tensor, "I"] | None = None,
        part: Int[Tensor, "*B N"] | None = None,
    ) -> Float[Tensor, "*B N 3"] | None:
        """Canonical to posed, of any point in space; None where the prior knows only the way back."""
        ...

    def backward(
        self,
        x: Float[Tensor, "*B N 3"],
        z: Float[Tensor, "*B dim"],
        ident: Float[Tensor, "I"] | None = None,
        part: Int[Tensor, "*B N"] | None = None,
    ) -> tuple[Float[Tensor, "*B N 3"], Float[Tensor, "*B N w"] | None] | None:
        """Posed to canonical, with hyper coordinates if the prior has them."""
        ...

    def posed_mesh(
        self, z: Float[Tensor, "dim"], ident: Float[Tensor, "I"] | None = None
    ) -> tuple[Float[Tensor, "V 3"], Int[Tensor, "F 3"]] | None:
        """Vertices and triangles of an expression."""
        ...

    def from_arkit(self, a52: Float[Tensor, "*B 52"]) -> Float[Tensor, "*B dim"] | None:
        """The code of ARKit coefficients in the order of arkit.ARKIT; None if that needs a learned bridge."""
        ...
