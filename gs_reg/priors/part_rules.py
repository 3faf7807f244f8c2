"""What belongs to which part of a head, where a mesh does not say: by how places move, and by where they are.

Places are centres of triangles in the head frame: metres, the midpoint of the eyeballs at (0, .03, .03).
"""

from __future__ import annotations

import numpy as np

from gs_reg.priors.types import Part

LOWER_LIP = 0.35
"""Share of the largest drop by jawOpen above which a place of the lips belongs to the lower lip.

At half, the lower lip's ends would be lost: they drop by .40 to .55 on anny, while no place of the upper drops by .32.
"""
MOVES_WITH_JAW = 0.25
"""The same of the mouth's inside; behind closed lips what drops by .3 or more touches what drops by .1 at most."""
STAYS = 0.05
"""Share of the largest motion by jawOpen up to which gums stay with the skull: of ICT-FaceKit one kind does not move
at all, the other by 4 mm and more."""
MOVES_WITH_LID = 0.2
"""Share of the largest drop by eyeBlink above which skin belongs to the upper lid."""
LID_REACH = 1.55
"""In radii of the eyeball."""


def lips(mask: np.ndarray, jaw_open: np.ndarray) -> dict[Part, np.ndarray]:
    """Upper and lower lip of a mask of both; jaw_open is the offset of all places at jawOpen."""
    drop = -jaw_open[:, 1]
    lower = drop > LOWER_LIP * drop.max()
    return {Part.LIP_UPPER: mask & ~lower, Part.LIP_LOWER: mask & lower}


def socket(mask: np.ndarray, jaw_open: np.ndarray) -> dict[Part, np.ndarray]:
    """Upper and lower wall of the mouth's inside, of a mask of both."""
    drop = -jaw_open[:, 1]
    lower = drop > MOVES_WITH_JAW * drop.max()
    return {Part.SOCKET_UPPER: mask & ~lower, Part.SOCKET_LOWER: mask & lower}


def gums(mask: np.ndarray, jaw_open: np.ndarray) -> dict[Part, np.ndarray]:
    """The gums that stay with the skull, and the tongue with the gums of the jaw, of a mask of both.

    By all motion, as the root of the tongue goes backwards and hardly down.
    """
    motion = np.linalg.norm(jaw_open, axis=1)
    lower = motion > STAYS * motion.max()
    return {Part.GUM_UPPER: mask & ~lower, Part.TONGUE_GUM: mask & lower}


def torn(faces: np.ndarray, jaw_open: np.ndarray) -> np.ndarray:
    """Faces between what stays with the skull and what goes with the jaw; those of gums lie in the throat, and turn
    inside out as the mouth opens. jaw_open is the offset of all vertices at jawOpen."""
    motion = np.linalg.norm(jaw_open, axis=1)
    goes = motion[faces] > STAYS * motion.max()
    return goes.any(1) & ~goes.all(1)


def lashes(mask: np.ndarray, faces: np.ndarray, blink: np.ndarray) -> dict[Part, np.ndarray]:
    """Upper and lower lashes of a mask of both: strips of triangles that drop with the upper lid as both eyes blink."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    own = faces[mask]
    links = np.concatenate([own[:, :2], own[:, 1:]])
    shape = (faces.max() + 1,) * 2
    strips = connected_components(coo_array((np.ones(len(links)), links.T), shape=shape), directed=False)[1][own[:, 0]]
    drop = np.bincount(strips, -blink[mask, 1]) / np.bincount(strips).clip(1)
    lower = np.zeros(len(faces), bool)
    lower[mask] = (drop < drop.max() / 2)[strips]
    return {Part.LASH_UPPER: mask & ~lower, Part.LASH_LOWER: lower}


def lids(
    places: np.ndarray, blink: np.ndarray, skin: np.ndarray, eyes: list[tuple[np.ndarray, float]], rims: np.ndarray
) -> dict[Part, np.ndarray]:
    """Lids: of the skin in front of an eyeball (centre, radius), the rims, and what drops as both eyes blink."""
    drops = -blink[:, 1] > MOVES_WITH_LID * -blink[skin, 1].min()
    upper, lower = np.zeros(len(places), bool), np.zeros(len(places), bool)
    for center, radius in eyes:
        place = (places - center) / radius
        near = skin & (np.linalg.norm(place, axis=1) < LID_REACH) & (place[:, 2] > 0.3)
        upper |= near & (drops | (rims & (place[:, 1] > 0.1)))
        lower |= near & ~drops & rims & (place[:, 1] <= 0.1)
    return {Part.LID_UPPER: upper, Part.LID_LOWER: lower}


def scalp_and_neck(places: np.ndarray, skin: np.ndarray, moves: np.ndarray) -> dict[Part, np.ndarray]:
    """Scalp: behind a plane from the hairline to below the back of the ear. Neck: below one from the chin to the nape.

    moves says how far a place can go, in metres: what moves with the face is not the neck.
    """
    y, z = places[:, 1], places[:, 2]
    neck = skin & (y < -0.065 - 0.2 * (0.03 - z)) & (moves < 0.002) | (skin & (y < -0.13))
    scalp = skin & ~neck & (y > 0.098 + 1.1 * (z - 0.02))
    return {Part.SCALP: scalp, Part.NECK: neck}


def ears(places: np.ndarray, skin: np.ndarray) -> dict[Part, np.ndarray]:
    """What stands out at the sides of the head, within upright ellipses that lean backwards."""
    x, y, z = np.abs(places[:, 0]), places[:, 1], places[:, 2] + 0.05
    return {Part.EAR: skin & (x > 0.066) & (((z + 0.25 * y) / 0.021) ** 2 + (y / 0.034) ** 2 < 1)}


def within(contour: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which points of the plane lie within a polygon: those from which a ray crosses it an odd number of times."""
    inside = np.zeros(len(points), bool)
    for start, end in zip(contour, np.roll(contour, -1, axis=0), strict=True):
        spans = (start[1] > points[:, 1]) != (end[1] > points[:, 1])
        height = np.where(spans, (points[:, 1] - start[1]) / np.where(spans, end[1] - start[1], 1), 0)
        inside ^= spans & (points[:, 0] < start[0] + height * (end[0] - start[0]))
    return inside


def near_openings(faces: np.ndarray, vertices: np.ndarray, places: np.ndarray, reach: float) -> np.ndarray:
    """Which places are nearer to the border of a surface than `reach`."""
    edges = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1), axis=-1).reshape(-1, 2)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    return near(vertices[np.unique(unique[count == 1])], places, reach)


def near(points: np.ndarray, places: np.ndarray, reach: float) -> np.ndarray:
    """Which places are nearer to one of the points than `reach`."""
    from scipy.spatial import KDTree

    return KDTree(points).query(places, distance_upper_bound=reach)[0] < reach


def labelled(count: int, *rules: dict[Part, np.ndarray]) -> np.ndarray:
    """The part of each place; where rules overlap the later one holds, where none does it is skin."""
    parts = np.full(count, Part.SKIN, dtype=np.int64)
    for rule in rules:
        for part, mask in rule.items():
            parts[mask] = part
    return parts


def of_vertices(faces: np.ndarray, face_parts: np.ndarray, count: int) -> np.ndarray:
    """The part of most triangles around each vertex, the smallest number where as many belong to two."""
    votes = np.zeros((count, len(Part)), dtype=np.int64)
    np.add.at(votes, (faces.ravel(), np.repeat(face_parts, 3)), 1)
    return votes.argmax(1)
