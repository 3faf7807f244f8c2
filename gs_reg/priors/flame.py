"""FLAME as a prior, with the user's own model file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gs_reg.errors import InputError
from gs_reg.priors import part_rules
from gs_reg.priors.flame_rig import EXPRESSIONS, JAW, SHAPES, FlameRig, with_strips
from gs_reg.priors.mesh import HeadMesh, MeshPrior
from gs_reg.priors.pickles import read_arrays
from gs_reg.priors.types import EYES, Part

YEARS = (2020, 2023)
CHANNELS = (
    *(f"expr{i}" for i in range(EXPRESSIONS)),
    *(f"{joint}_{axis}" for joint in ("jaw", "eye_left", "eye_right", "neck") for axis in "xyz"),
)
LIP_CONTACT, LIP_REACH = 0.004, 0.009
"""Vertices nearer than the first, of which only one moves with the jaw, touch; lips reach the second from there."""
LID_REACH = 1.4
TOOTH_COLUMNS, TOOTH_ROWS, TOOTH_HEIGHT = 24, 4, 0.009


def flame_prior(path: Path, year: int) -> MeshPrior:
    """The head of FLAME's pickle of a year, or of the one in a folder, with strips of teeth of our own.

    Its frame is FLAME's. Texture coordinates are those of a cylinder around the head: FLAME's own lie in another file.

    Raises:
        InputError: the file is missing, not what it should be, or of another year; names it.
    """
    path = _model(path, year) if path.is_dir() else path
    said = [known for known in YEARS if str(known) in path.name]
    if said and year not in said:
        raise InputError(f"{path}: is FLAME {said[0]}, while FLAME {year} is asked for: their codes are not the same")
    rig, faces = _read(path)
    contact = _lip_contact(rig)
    if len(contact) < 4:
        raise InputError(f"{path}: no lips found: no two places of the mouth touch of which one moves with the jaw")
    strips = torch.from_numpy(_tooth_strips(rig.template.numpy(), contact)).to(rig.template)
    mesh = _mesh(rig, faces, contact, strips)
    rig = with_strips(rig, strips, torch.from_numpy(contact))
    reach = torch.tensor([3.0] * EXPRESSIONS + [0.4] * 3 + [0.5] * 6 + [0.4] * 3)
    licence = "MPI-IS FLAME: see the model's own licence"
    return MeshPrior(f"flame{year}", licence, CHANNELS, mesh, rig, torch.zeros(len(CHANNELS)), -reach, reach)


def _model(folder: Path, year: int) -> Path:
    found = sorted(folder.glob("*.pkl"))
    found = [path for path in found if str(year) in path.name] or found
    if len(found) != 1:
        raise InputError(f"{folder}: expected one .pkl of FLAME {year}, found {len(found)}: name the file")
    return found[0]


def _read(path: Path) -> tuple[FlameRig, Int[Tensor, "F 3"]]:
    names = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
    arrays = read_arrays(path, names)
    count = len(arrays["v_template"])
    wanted = {"v_template": (count, 3), "shapedirs": (count, 3, SHAPES + EXPRESSIONS), "posedirs": (count, 3, 36)}
    wanted |= {"J_regressor": (5, count), "weights": (count, 5), "kintree_table": (2, 5)}
    for name, shape in wanted.items():
        if arrays[name].shape != shape:
            raise InputError(f"{path}: {name}: expected {list(shape)} as FLAME has it, got {list(arrays[name].shape)}")
    floats = {name: torch.from_numpy(np.array(arrays[name], dtype=np.float32)) for name in names[:5]}
    shapes = floats["shapedirs"].permute(2, 0, 1).contiguous()
    parents = torch.from_numpy(arrays["kintree_table"][0].astype(np.int64))
    rig = FlameRig(
        floats["v_template"],
        shapes[:SHAPES],
        shapes[SHAPES:],
        floats["posedirs"].permute(2, 0, 1).contiguous(),
        floats["J_regressor"],
        floats["weights"],
        parents,
    )
    return rig, torch.from_numpy(arrays["f"].astype(np.int64))


def _lip_contact(rig: FlameRig) -> np.ndarray:
    """Vertices where the lips of the closed mouth touch."""
    from scipy.spatial import KDTree

    jaw = rig.weights[:, JAW].numpy()
    pairs = KDTree(rig.template.numpy()).query_pairs(LIP_CONTACT, output_type="ndarray")
    return np.unique(pairs[np.abs(jaw[pairs[:, 0]] - jaw[pairs[:, 1]]) > 0.5])


def _tooth_strips(vertices: np.ndarray, contact: np.ndarray) -> np.ndarray:
    """Two bent strips behind the lips, upper and lower, each of rows from the gum to the edge."""
    lips = vertices[contact]
    middle, width = (lips.max(0) + lips.min(0)) / 2, np.ptp(lips[:, 0])
    turn = np.linspace(-1.2, 1.2, TOOTH_COLUMNS)
    x, z = 0.5 * width * np.sin(turn), lips[:, 2].max() - 0.012 - 0.6 * width * (1 - np.cos(turn))
    rows = np.linspace(1, 0, TOOTH_ROWS)[:, None] * TOOTH_HEIGHT
    strips = [
        np.stack(np.broadcast_arrays(middle[0] + x, middle[1] + sign * (rows + 0.0005), z), -1) for sign in (1, -1)
    ]
    return np.stack([strip.reshape(-1, 3) for strip in strips])


def _mesh(rig: FlameRig, faces: Tensor, contact: np.ndarray, strips: Float[Tensor, "S V 3"]) -> HeadMesh:
    count, each = len(rig.template), strips.shape[1]
    corner = np.arange(each).reshape(TOOTH_ROWS, TOOTH_COLUMNS)
    quads = np.stack([corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:], corner[:-1, :-1]], -1).reshape(-1, 4)
    upper = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]) + count
    lower = upper[:, ::-1] + each  # its rows go down
    parts = _parts(rig, faces.numpy(), contact)
    parts = np.concatenate([parts, np.repeat([Part.TOOTH_UPPER, Part.TOOTH_LOWER], len(upper))])
    whole = np.concatenate([faces.numpy(), upper, lower])
    vertices = np.concatenate([rig.template.numpy(), strips.flatten(0, 1).numpy()])
    height = (vertices[:, 1] - vertices[:, 1].min()) / np.ptp(vertices[:, 1])
    uv = np.stack([0.5 + np.arctan2(vertices[:, 0], vertices[:, 2]) / (2 * np.pi), height], axis=1).astype(np.float32)
    arrays = [whole, parts, part_rules.of_vertices(whole, parts, len(vertices)), uv, whole]
    return HeadMesh(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))


def _parts(rig: FlameRig, faces: np.ndarray, contact: np.ndarray) -> np.ndarray:
    """By the weights of the eyes' joints and the jaw's, and by where places are."""
    weights, vertices = rig.weights.numpy(), rig.template.numpy()
    eye_of = weights[:, 3:].argmax(1)[faces[:, 0]]
    eyeball = weights[faces, 3:].max(2).min(1) > 0.5
    balls = [vertices[np.unique(faces[eyeball & (eye_of == side)])] for side in (0, 1)]
    centers = [(ball.max(0) + ball.min(0)) / 2 for ball in balls]
    places, skin = vertices[faces].mean(1), ~eyeball
    lids = {Part.LID_UPPER: np.zeros(len(faces), bool), Part.LID_LOWER: np.zeros(len(faces), bool)}
    for ball, center in zip(balls, centers, strict=True):
        place = (places - center) / (np.ptp(ball[:, 1]) / 2)
        near = skin & (np.linalg.norm(place, axis=1) < LID_REACH) & (place[:, 2] > 0.3)
        lids[Part.LID_UPPER] |= near & (place[:, 1] > 0.1)
        lids[Part.LID_LOWER] |= near & (place[:, 1] <= 0.1)
    near_lips = part_rules.near(vertices[contact], places, LIP_REACH)
    jaw = weights[faces, JAW].mean(1) > 0.5
    shifted = places + np.array(EYES) - sum(centers) / 2
    return part_rules.labelled(
        len(faces),
        part_rules.scalp_and_neck(shifted, skin, np.zeros(len(faces))),
        part_rules.ears(shifted, skin),
        lids,
        {Part.LIP_UPPER: skin & near_lips & ~jaw, Part.LIP_LOWER: skin & near_lips & jaw, Part.EYE: eyeball},
    )
