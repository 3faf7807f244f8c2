"""The painted atlas of a head: skin with its regions, spots of the sliding layer, and the lines of wrinkles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from gs_reg.priors.regions import SOCKET
from gs_reg.priors.types import Part

from ...photos.images import read_header, read_pixels
from .config import Scan
from .mesh import Head, smoothed

BROW = np.array([[0.011, 0.0135], [0.022, 0.0165], [0.034, 0.0180], [0.044, 0.0155], [0.051, 0.0105]])
"""x, y of the left brow's middle line from the middle of the eyes, for eyes that are EYE_X from it."""
EYE_X = 0.0316
EYE_TO_AXIS = 0.08
"""Metres from the eyes back to the vertical that a scan is unwrapped around."""
BROW_HALF_WIDTH = 0.0042
HAIR = (0.16, 0.10, 0.07)


def paint(mesh: Head, size: int, seed: int, scan: Scan | None = None) -> UInt8[ndarray, "A A 5"]:
    """Red, green, blue, spots of the sliding layer, lines; the texels around the charts repeat their borders."""
    from scipy.ndimage import distance_transform_edt

    weights = _soft_parts(mesh)
    covered, values = _rasterized(mesh, np.concatenate([mesh.neutral, weights], axis=1), size)
    atlas = np.zeros((size, size, 5))
    rest, regions = values[covered][:, :3], values[covered][:, 3:]
    bare = _bare(mesh, rest, seed) if scan is None else scanned(mesh, rest, scan)
    atlas[covered, :3] = _dressed(mesh, bare, rest, regions)
    atlas[covered, 3] = _spots(mesh, rest, regions, seed)
    atlas[covered, 4] = _lines(mesh, rest, seed)
    _, nearest = distance_transform_edt(~covered, return_indices=True)  # pyright: ignore[reportGeneralTypeIssues]
    return np.ascontiguousarray((atlas[tuple(nearest)].clip(0, 1) * 255 + 0.5).astype(np.uint8))


def noise(points: Float[ndarray, "P 3"], frequency: float, seed: int, terms: int = 8) -> Float[ndarray, "P"]:
    """Smooth, of mean 0 and variance 1/2; `frequency` in periods a metre."""
    r = np.random.default_rng(seed)
    k = r.normal(size=(terms, 3))
    k *= frequency * (0.6 + 0.8 * r.random((terms, 1))) / np.linalg.norm(k, axis=1, keepdims=True)
    return np.sin(2 * np.pi * (points @ k.T + r.random(terms))).sum(-1) / math.sqrt(terms)


def blend(color: ndarray, alpha: ndarray, other: ndarray | Sequence[float]) -> ndarray:
    return color * (1 - alpha[:, None]) + alpha[:, None] * np.asarray(other)


def smoothstep(low: float, high: float, x: ndarray) -> ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def scalp_weight(mesh: Head, points: Float[ndarray, "P 3"]) -> Float[ndarray, "P"]:
    """How far points of the neutral head lie where hair grows: above the hairline, and behind the ears."""
    middle = mesh.eyes[:, :3].mean(0)
    x, y, z = (points - middle + 0.003 * noise(points, 55, 9)[:, None]).T
    front = smoothstep(0.066, 0.074, y - 0.10 * np.abs(x))
    temple = smoothstep(0.0, 0.01, y - 0.018) * smoothstep(0.068, 0.078, -z)
    back = smoothstep(0.105, 0.113, -z) * smoothstep(-0.075, -0.06, y)
    return np.maximum(np.maximum(front, temple), back)


def _soft_parts(mesh: Head) -> Float[ndarray, "V 2"]:
    """Weights of the lips and of the inside of the mouth, a little blurred."""
    lips = mesh.vertices_of(Part.LIP_UPPER, Part.LIP_LOWER)
    inside = mesh.vertices_of(*SOCKET)
    hard = np.stack([lips, inside], axis=1).astype(float)
    return smoothed(hard, mesh.faces, 1) * 0.5 + hard * 0.5


def _rasterized(mesh: Head, values: Float[ndarray, "V C"], size: int) -> tuple[ndarray, ndarray]:
    """Which texels the painted faces cover, and values of vertices there."""
    from . import _kernels

    chosen = mesh.painted
    corners = np.ascontiguousarray(values[mesh.faces[chosen]], np.float32)
    flat = (mesh.uv[chosen] * size).reshape(-1, 2)
    points = np.concatenate([flat, np.ones((len(flat), 1))], axis=1).astype(np.float32)
    faces = np.arange(len(flat), dtype=np.int32).reshape(-1, 3)
    ids, near = np.full((size, size), -1, np.int32), np.zeros((size, size), np.float32)
    _kernels.rasterize(points, faces, np.zeros((len(faces), 3), np.float32), near, ids)
    out = np.zeros((size, size, values.shape[1]), np.float32)
    _kernels.interpolate(points, faces, ids, corners, out)
    return ids >= 0, out.astype(np.float64)


def scanned(mesh: Head, rest: Float[ndarray, "P 3"], scan: Scan) -> Float[ndarray, "P 3"]:
    """Colours of the scan at points of the neutral head: by the angle around the vertical, and by the height.

    Raises:
        InputError: the picture is missing or broken.
    """
    from scipy.ndimage import map_coordinates

    read_header(scan.path)  # which names a file that is no picture better than reading it whole does
    pixels = read_pixels(scan.path, upright=True) / 255.0
    middle = mesh.eyes[:, :3].mean(0)
    mouth = mesh.neutral[mesh.vertices_of(Part.LIP_UPPER, Part.LIP_LOWER), 1].mean()
    axis = middle[2] - EYE_TO_AXIS
    a_radian = (scan.eyes[1] - scan.eyes[0]) / 2 / np.arctan2(np.abs(mesh.eyes[:, 0]).mean(), EYE_TO_AXIS)
    a_metre = (scan.mouth_height - scan.eye_height) / (middle[1] - mouth)
    across = sum(scan.eyes) / 2 + a_radian * np.arctan2(rest[:, 0], rest[:, 2] - axis)
    down = scan.eye_height + a_metre * (middle[1] - rest[:, 1])
    place = np.stack([down * pixels.shape[0] - 0.5, across * pixels.shape[1] - 0.5])
    return np.stack([map_coordinates(pixels[..., k], place, order=1, mode="nearest") for k in range(3)], axis=1)


def _bare(mesh: Head, rest: Float[ndarray, "P 3"], seed: int) -> Float[ndarray, "P 3"]:
    """Skin with its grain and red cheeks."""
    P = rest - mesh.eyes[:, :3].mean(0)
    wide = np.abs(mesh.eyes[:, 0]).mean() / EYE_X
    tone = np.random.default_rng([seed, 2]).uniform(-1, 1, 3) * (0.05, 0.04, 0.04)
    c = np.tile(np.array([0.78, 0.57, 0.47]) + tone, (len(P), 1))
    grain = 0.02 * noise(P, 25, seed + 1) + 0.012 * noise(P, 80, seed + 2) + 0.009 * noise(P, 300, seed + 3)
    c *= (1 + grain)[:, None]
    for side in (1, -1):  # cheeks
        d = (P - [side * 0.042 * wide, -0.035, 0.035]) / [0.02, 0.018, 0.04]
        c *= 1 - np.exp(-(d**2).sum(1))[:, None] * [0.02, 0.16, 0.14]
    return c


def _dressed(mesh: Head, bare: ndarray, rest: ndarray, regions: ndarray) -> Float[ndarray, "P 3"]:
    """With lips, the inside of the mouth, the scalp under the hair, and brows."""
    P = rest - mesh.eyes[:, :3].mean(0)
    wide = np.abs(mesh.eyes[:, 0]).mean() / EYE_X
    lips, inside = regions.T
    c = bare
    c = blend(c, 0.5 * smoothstep(0.25, 0.75, lips), [0.62, 0.27, 0.26])  # redder lips read as a pout
    c = blend(c, smoothstep(0.3, 0.7, inside), [0.28, 0.07, 0.07])
    c = blend(c, 0.85 * scalp_weight(mesh, rest), HAIR)
    for side in (1, -1):
        distance, along = _polyline(P[:, :2], BROW * [side * wide, 1])
        half = BROW_HALF_WIDTH * (1 - 0.44 * np.abs(2 * along - 0.8) ** 1.5)
        hairs = 0.75 + 0.25 * np.sin(2 * np.pi * (P[:, 0] * side * 0.8 + P[:, 1]) / 0.0016)
        brow = 0.92 * hairs * (1 - smoothstep(0.75, 1.15, distance / half)) * (P[:, 2] > -0.03)
        c = blend(c, brow, HAIR)
    return c


def _spots(mesh: Head, rest: ndarray, regions: ndarray, seed: int) -> Float[ndarray, "P"]:
    """Freckles and moles; none on the lips, inside the mouth and under hair."""
    from scipy.spatial import KDTree

    r = np.random.default_rng([seed, 3])
    skin = mesh.neutral[mesh.vertices_of(Part.SKIN, Part.LID_UPPER, Part.LID_LOWER)]
    skin = skin[skin[:, 2] > mesh.eyes[:, 2].mean() - 0.09]
    centres = skin[r.integers(len(skin), size=420)] + r.normal(size=(420, 3)) * 0.002
    radius = np.where(r.random(420) < 0.07, r.uniform(0.0018, 0.003, 420), r.uniform(0.0007, 0.0016, 420))
    depth = np.where(radius > 0.0017, 0.95, r.uniform(0.35, 0.8, 420))
    distance, nearest = KDTree(centres).query(rest, k=3, distance_upper_bound=0.006)
    known = np.isfinite(distance)
    nearest = np.where(known, nearest, 0)
    strength = np.where(known, depth[nearest] * np.exp(-((distance / radius[nearest]) ** 2)), 0.0).max(1)
    blotches = 0.13 * smoothstep(0.4, 1.3, noise(rest, 50, seed + 4))
    bare = (1 - regions.max(1)) * (1 - scalp_weight(mesh, rest))
    return np.maximum(strength, blotches) * bare


def _lines(mesh: Head, rest: ndarray, seed: int) -> Float[ndarray, "P"]:
    """Where creases form: level ones on the forehead, ridged noise elsewhere."""
    P = rest - mesh.eyes[:, :3].mean(0)
    wobble = 0.0012 * noise(P, 35, seed + 5)
    level = np.sin(2 * np.pi * (P[:, 1] + wobble) / 0.0085) ** 6
    ridges = 1 - np.abs(noise(P, 90, seed + 6)).clip(0, 1)
    forehead = smoothstep(0.02, 0.03, P[:, 1])
    return forehead * level + (1 - forehead) * ridges**5


def _polyline(points: Float[ndarray, "P 2"], line: Float[ndarray, "L 2"]) -> tuple[ndarray, ndarray]:
    """Distance to a polyline, and where on it the nearest point is, 0 to 1."""
    best, where, length = np.full(len(points), np.inf), np.zeros(len(points)), 0.0
    for a, b in itertools.pairwise(line):
        d = b - a
        t = np.clip((points - a) @ d / (d @ d), 0, 1)
        far = np.linalg.norm(points - a - t[:, None] * d, axis=1)
        closer = far < best
        best[closer], where[closer] = far[closer], (length + t * np.linalg.norm(d))[closer]
        length += float(np.linalg.norm(d))
    return best, where / length
