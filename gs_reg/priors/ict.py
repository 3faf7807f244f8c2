"""The ICT FaceKit head (MIT), from the user's copy of ict_facekit_compact.npz."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.errors import InputError, reading
from gs_reg.priors import part_rules
from gs_reg.priors.arkit import ARKIT
from gs_reg.priors.mesh import HeadMesh, MeshPrior
from gs_reg.priors.types import EYES, UNIT_M, Part
from gs_reg.tensor_dataclass import TensorDataclass

FILE = "ict_facekit_compact.npz"
CENTIMETRE = 0.01
VERTICES = 26719
HEAD, MOUTH_SOCKET, EYE_SOCKETS, GUMS, TEETH, UPPER_TEETH = 11248, 13294, 14062, 17039, 21451, 19247
"""Ends of ranges of vertices: face, head and neck; mouth socket; eye sockets; gums and tongue; upper teeth and all."""
EYEBALLS, SHELLS, LASHES = 24591, 25351, 26719
"""The next ends: eyeballs; shells of wet and shaded skin around them, which are left out; lashes."""
LIP_CONTOUR = (5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957, 5841)
"""Vertices around both lips: landmarks 49 to 60 of the usual 68, as the kit numbers them."""
RIM = 0.005
"""How far from the opening of an eye skin counts as lid though it does not drop with it, in metres."""
SIDEWAYS, UPWARDS = math.radians(30), math.radians(25)
"""How far an eye turns at 1."""


@dataclass(frozen=True)
class IctRig(TensorDataclass):
    """Shapes of expressions and persons, added to a neutral head. Gaze turns the eyeballs, which no shape moves.

    A person is coefficients of 100 principal components, each about N(0, 1).
    """

    neutral: Float[Tensor, "V 3"]
    deltas: Float[Tensor, "57 V 3"]
    persons: Float[Tensor, "100 V 3"]
    from_units: Float[Tensor, "52 57"]
    """Of ARKit's coefficients to the channels."""
    gaze: Float[Tensor, "2 57 2"]
    """Of the channels to each eye's turn to the subject's left and up, in radians: the left eye first."""
    left_eye: Int[Tensor, "L"]
    right_eye: Int[Tensor, "R"]

    def vertices(self, z: Float[Tensor, "*B dim"], ident: Float[Tensor, "I"] | None = None) -> Float[Tensor, "*B V 3"]:
        person = self._person(ident)
        z = z.to(person)
        posed = person + (z @ self.deltas.flatten(1)).unflatten(-1, person.shape) / UNIT_M
        for eye, gaze in zip((self.left_eye, self.right_eye), self.gaze, strict=True):
            center = (person[eye].amax(0) + person[eye].amin(0)) / 2
            turned = (posed[..., eye, :] - center) @ _turn(z @ gaze).transpose(-1, -2) + center
            posed = posed.index_copy(-2, eye, turned)
        return posed

    def from_arkit(self, a52: Float[Tensor, "*B 52"]) -> Float[Tensor, "*B dim"]:
        """tongueOut has no channel; the extra cheekRaiser and PupilDilate stay 0."""
        return a52 @ self.from_units.to(a52)

    def random_ident(self, seed: int) -> Float[Tensor, "I"]:
        return torch.from_numpy(np.random.default_rng(seed).standard_normal(len(self.persons))).to(self.neutral)

    def _person(self, ident: Float[Tensor, "I"] | None) -> Float[Tensor, "V 3"]:
        shape = self.neutral
        if ident is not None:
            shape = shape + (ident.to(shape) @ self.persons.flatten(1)).view_as(shape)
        middle = sum((shape[eye].amax(0) + shape[eye].amin(0)) / 4 for eye in (self.left_eye, self.right_eye))
        return (shape - middle + shape.new_tensor(EYES)) / UNIT_M


def _turn(angles: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 3 3"]:
    """A rotation of eyes that look along z: to +x, and up."""
    (c, cu), (s, su) = (f(angles).unbind(-1) for f in (torch.cos, torch.sin))
    zero = torch.zeros_like(c)
    rows = [c, -s * su, s * cu, zero, cu, su, -s, -c * su, c * cu]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def ict_prior(path: Path) -> MeshPrior:
    """The head of the file, or of the folder that it lies in.

    Raises:
        InputError: the file is missing or not what it should be; names it.
    """
    path = path / FILE if path.is_dir() else path
    with reading(path), np.load(path) as file:
        arrays = {name: file[name] for name in ("neutral", "expr_delta", "id_delta", "faces", "faces_uv", "uv")}
        names = tuple(str(name) for name in file["expr_names"])
    if len(arrays["neutral"]) != VERTICES or len(names) != 57:
        found = f"{len(arrays['neutral'])} and {len(names)}"
        raise InputError(f"{path}: expected {VERTICES} vertices and 57 expressions of ICT FaceKit, got {found}")
    kept = np.r_[0:EYEBALLS, SHELLS:LASHES]
    mesh = _mesh(arrays, names, kept)
    points = torch.from_numpy(arrays["neutral"][kept] * CENTIMETRE).float()
    eyeballs = torch.arange(TEETH, EYEBALLS)
    rig = IctRig(
        points,
        torch.from_numpy(arrays["expr_delta"][:, kept]).float() * CENTIMETRE,
        torch.from_numpy(arrays["id_delta"][:, kept]).float() * CENTIMETRE,
        from_units(names),
        _gaze(names),
        eyeballs[points[eyeballs, 0] > 0],
        eyeballs[points[eyeballs, 0] < 0],
    )
    zeros = torch.zeros(len(names))
    return MeshPrior("ict", "MIT", names, mesh, rig, zeros, zeros, zeros + 1)


def _mesh(arrays: dict[str, np.ndarray], names: tuple[str, ...], kept: np.ndarray) -> HeadMesh:
    corners, corners_uv = arrays["faces"], arrays["faces_uv"]
    own = np.where(corners < 0, corners[:, :1], corners)
    jaw_open = arrays["expr_delta"][names.index("jawOpen")].astype(np.float32)
    gums = (own[:, 0] >= EYE_SOCKETS) & (own[:, 0] < GUMS)
    inside = np.isin(own, kept).all(1) & ~(gums & part_rules.torn(own, jaw_open))
    corners, corners_uv = corners[inside], corners_uv[inside]
    quads = corners[:, 3] >= 0
    faces = np.concatenate([corners[:, :3], corners[quads][:, [0, 2, 3]]])
    faces_uv = np.concatenate([corners_uv[:, :3], corners_uv[quads][:, [0, 2, 3]]])
    parts = _parts(arrays, names, faces)
    number = np.full(VERTICES, -1)
    number[kept] = np.arange(len(kept))
    faces = number[faces]
    tensors = [faces, parts, part_rules.of_vertices(faces, parts, len(kept)), arrays["uv"].astype(np.float32), faces_uv]
    return HeadMesh(*(torch.from_numpy(np.ascontiguousarray(array)) for array in tensors))


def _parts(arrays: dict[str, np.ndarray], names: tuple[str, ...], faces: np.ndarray) -> np.ndarray:
    """By the ranges of vertices, and by the rules for lips, lids, scalp and neck."""
    neutral, first = arrays["neutral"] * CENTIMETRE, faces[:, 0]
    balls = neutral[TEETH:EYEBALLS]
    sides = [balls[balls[:, 0] > 0], balls[balls[:, 0] < 0]]
    eyes = [((eye.max(0) + eye.min(0)) / 2, float(np.ptp(eye[:, 1])) / 2) for eye in sides]
    shift = np.array(EYES) - sum(center for center, _ in eyes) / 2
    places, eyes = neutral[faces].mean(1) + shift, [(center + shift, radius) for center, radius in eyes]
    moved = {
        name: delta[faces].astype(np.float32).mean(1) * CENTIMETRE
        for name, delta in zip(names, arrays["expr_delta"], strict=True)
    }
    farthest = np.max([np.linalg.norm(delta, axis=1) for delta in moved.values()], axis=0)
    skin = first < HEAD
    contour = neutral[list(LIP_CONTOUR)]
    lips = (
        skin
        & part_rules.within(contour[:, :2], places[:, :2] - shift[:2])
        & (places[:, 2] - shift[2] > contour[:, 2].min() - 0.02)
    )
    jaw, blink = moved["jawOpen"], moved["eyeBlink_L"] + moved["eyeBlink_R"]
    rims = part_rules.near_openings(faces[skin], neutral, places - shift, RIM) & skin
    return part_rules.labelled(
        len(faces),
        part_rules.scalp_and_neck(places, skin, farthest),
        part_rules.ears(places, skin),
        part_rules.lids(places, blink, skin, eyes, rims),
        part_rules.lips(lips, jaw),
        {
            Part.OTHER: (first >= MOUTH_SOCKET) & (first < EYE_SOCKETS),
            Part.TOOTH_UPPER: (first >= GUMS) & (first < UPPER_TEETH),
            Part.TOOTH_LOWER: (first >= UPPER_TEETH) & (first < TEETH),
            Part.EYE: (first >= TEETH) & (first < EYEBALLS),
        },
        part_rules.socket((first >= HEAD) & (first < MOUTH_SOCKET), jaw),
        part_rules.gums((first >= EYE_SOCKETS) & (first < GUMS), jaw),
        part_rules.lashes(first >= SHELLS, faces, blink),
    )


def from_units(names: tuple[str, ...]) -> Float[Tensor, "52 57"]:
    """Of ARKit's coefficients to channels of these names: XLeft is X_L; browInnerUp and cheekPuff drive both sides."""
    matrix = torch.zeros(len(ARKIT), len(names))
    for row, unit in enumerate(ARKIT):
        own = unit.removesuffix("Left") + "_L" if unit.endswith("Left") else unit.removesuffix("Right") + "_R"
        for name in {unit, own, f"{unit}_L", f"{unit}_R"} & set(names):
            matrix[row, names.index(name)] = 1
    return matrix


def _gaze(names: tuple[str, ...]) -> Float[Tensor, "2 57 2"]:
    """Out is to the subject's left for the left eye and to the right for the right."""
    gaze = torch.zeros(2, len(names), 2)
    for eye, (side, outwards) in enumerate((("L", 1), ("R", -1))):
        gaze[eye, names.index(f"eyeLookOut_{side}"), 0] = outwards * SIDEWAYS
        gaze[eye, names.index(f"eyeLookIn_{side}"), 0] = -outwards * SIDEWAYS
        gaze[eye, names.index(f"eyeLookUp_{side}"), 1] = UPWARDS
        gaze[eye, names.index(f"eyeLookDown_{side}"), 1] = -UPWARDS
    return gaze
