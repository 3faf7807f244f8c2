"""A head as it is drawn: mesh, hair and atlas; its state at a frame; and photos of that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8
from numpy import ndarray
from torch import Tensor

from gs_reg.priors.mesh import MeshPrior
from gs_reg.priors.regions import GUMS, LASHES, SOCKET
from gs_reg.priors.types import Part
from gs_reg.types import Cameras

from .config import SynthConfig
from .effects import HiddenEffects
from .hair import Hair, grow
from .mesh import Head, head_of, vertex_normals
from .rig import lights
from .texture import HAIR, paint

PAINT, EYE, LASH, TOOTH, TONGUE, STRAND = range(6)
MATERIALS = np.array(
    [
        [0, 0, 0, 0, 0.10, 18],
        [1, 0, 0, 0, 0.60, 120],
        [2, 0.05, 0.035, 0.03, 0.05, 10],
        [3, 0.85, 0.81, 0.72, 0.25, 40],
        [2, 0.66, 0.30, 0.30, 0.15, 25],
        [2, *HAIR, 0.20, 30],
    ],
    np.float32,
)
"""Kind (0 = the atlas, 1 = an eyeball, 2 = one colour, 3 = with gaps between teeth), colour, gloss, its exponent."""
MATERIAL_OF = {
    Part.EYE: EYE,
    **dict.fromkeys(LASHES, LASH),
    Part.TOOTH_UPPER: TOOTH,
    Part.TOOTH_LOWER: TOOTH,
    **dict.fromkeys(GUMS, TONGUE),
}
OCCLUSION = {Part.TOOTH_UPPER: 0.2, Part.TOOTH_LOWER: 0.25, **dict.fromkeys(GUMS, 0.3), **dict.fromkeys(SOCKET, 0.45)}
"""Share of the light that does not come into the mouth."""
LASH_STRIPE = 0.0011
TOOTH_WIDTH = 0.0075
HEM = 0.03
"""Of the bust: metres that are cut off, so that it ends level and not with whole triangles."""


@dataclass(frozen=True)
class Snapshot:
    """All of a head at one frame, in the world."""

    values: Float32[ndarray, "V 12"]
    """World position, normal, rest position, wrinkle (of teeth: place in the row), blush, occlusion."""
    corners: Float32[ndarray, "F 3 4"]
    """Texture coordinates of the skin and of the layer that slides over it."""
    surface: Float[ndarray, "M 3"]
    """Vertices of the prior's mesh as they truly are, in the head frame and metres."""
    lamps: Float32[ndarray, "L 4"]
    """Directions to the lights, in the world, and their strengths."""


@dataclass(frozen=True)
class SynthHead:
    """What stays the same in all frames."""

    head: Head
    hair: Hair
    effects: HiddenEffects
    atlas: UInt8[ndarray, "A A 5"]
    faces: Int32[ndarray, "F 3"]
    face_values: Float32[ndarray, "F 2"]
    stripes: Float32[ndarray, "F 3"]
    hair_lag: float
    lamps_turn: bool
    """With the head."""

    @staticmethod
    def build(config: SynthConfig, prior: MeshPrior, ident: Float[Tensor, "I"] | None) -> SynthHead:
        head = head_of(prior, ident)
        hair = grow(head, config.strands, config.seed)
        faces = np.concatenate([head.faces, hair.faces + len(head.neutral)]).astype(np.int32)
        material = np.full(len(head.faces), PAINT)
        for part, kind in MATERIAL_OF.items():
            material[head.face_parts == part] = kind
        materials = np.concatenate([material, np.full(len(hair.faces), STRAND)])
        face_values = np.stack([materials, np.concatenate([np.ones(len(material)), hair.tints])], axis=1)
        stripes = np.zeros((len(faces), 3), np.float32)
        lashes = np.flatnonzero(material == LASH)
        stripes[lashes] = 100 + head.neutral[head.faces[lashes]][..., 0] / LASH_STRIPE
        bust = np.flatnonzero(material == PAINT)
        height = head.neutral[head.faces[bust]][..., 1] - head.neutral[:, 1].min() - HEM
        bust, height = bust[height.min(1) < 0], height[height.min(1) < 0]
        stripes[bust] = 0.3 - 3 * height  # _kernels.COVERED at the hem
        atlas = paint(head, config.atlas, config.seed, config.scan)
        effects = HiddenEffects(head, config.effects, config.seed)
        lag = config.effects.hair_lag
        columns = face_values.astype(np.float32), stripes
        return SynthHead(head, hair, effects, atlas, faces, *columns, lag, config.lamps == "head")

    def at(
        self,
        arkit: Float[ndarray, "52"],
        rotation: Float[ndarray, "3 3"],
        translation: Float[ndarray, "3"],
        lag: Float[ndarray, "3 3"],
    ) -> Snapshot:
        """The head with an expression at x_W = rotation · x_H + translation; `lag` turns the tips of the hair."""
        head, skin = self.head, self.effects(arkit)
        hair = self.hair.posed(skin.vertices - head.neutral, np.eye(3) + self.hair_lag * (lag - np.eye(3)))
        points = np.concatenate([skin.vertices, hair]) @ rotation.T + translation
        normals = np.concatenate([vertex_normals(skin.vertices, head.faces), self.hair.normals]) @ rotation.T
        values = np.zeros((len(points), 12), np.float32)
        values[:, :3], values[:, 3:6] = points, normals
        count = len(head.neutral)
        values[:count, 6:9] = head.neutral
        values[:count, 9], values[:count, 10] = skin.wrinkle, skin.blush
        teeth = head.vertices_of(Part.TOOTH_UPPER, Part.TOOTH_LOWER)
        values[:count, 9][teeth] = tooth_places(head.neutral[teeth])
        for part, share in OCCLUSION.items():
            values[:count, 11][head.parts == part] = share
        corners = np.zeros((len(self.faces), 3, 4), np.float32)
        corners[: len(head.faces), :, :2] = head.uv
        corners[: len(head.faces), :, 2:] = head.uv - skin.slide[head.faces]
        lamps = lights()
        if self.lamps_turn:
            lamps[:, :3] = lamps[:, :3] @ rotation.T
        return Snapshot(values, corners, skin.vertices, lamps)


def tooth_places(points: Float[ndarray, "T 3"]) -> Float[ndarray, "T"]:
    """Place along the row of teeth, in teeth; 0 between the two in the middle."""
    if not len(points):
        return np.zeros(0)
    z = points[:, 2].min()
    radius = max(points[:, 2].max() - z, 1e-6)
    return np.arctan2(points[:, 0], points[:, 2] - z + 1e-6) * radius / TOOTH_WIDTH


def photograph(
    head: SynthHead, snapshot: Snapshot, camera: Cameras, samples: int
) -> tuple[UInt8[ndarray, "H W 3"], UInt8[ndarray, "H W"]]:
    """Straight colours, so that compositing them by alpha is exact, and alpha, the share of samples that hit.

    White where alpha is 0.
    """
    from . import _kernels

    width, height = camera.width, camera.height
    viewmat, K = camera.viewmats[0].double().numpy(), camera.Ks[0].double().numpy()
    seen = snapshot.values[:, :3] @ viewmat[:3, :3].T + viewmat[:3, 3]
    image = seen @ K.T
    points = np.concatenate([samples * image[:, :2] / image[:, 2:], seen[:, 2:]], axis=1).astype(np.float32)
    ids = np.full((height * samples, width * samples), -1, np.int32)
    _kernels.rasterize(points, head.faces, head.stripes, np.zeros(ids.shape, np.float32), ids)
    rgb, alpha = np.full((height, width, 3), 255, np.uint8), np.zeros((height, width), np.uint8)
    center = camera.centers[0].double().numpy().astype(np.float32)
    _kernels.shade(
        points,
        head.faces,
        ids,
        snapshot.values,
        snapshot.corners,
        head.face_values,
        head.atlas,
        head.head.eyes.astype(np.float32),
        snapshot.lamps,
        MATERIALS,
        center,
        rgb,
        alpha,
    )
    return rgb, alpha


def lags(rotations: Float[ndarray, "T 3 3"]) -> Float[ndarray, "T 3 3"]:
    """How far tips are behind in each frame, as turns in the head frame of at most 12 degrees."""
    from scipy.spatial.transform import Rotation

    behind, out = Rotation.from_matrix(rotations[0]), []
    for matrix in rotations:
        now = Rotation.from_matrix(matrix)
        turn = (now.inv() * behind).as_rotvec()
        angle = np.linalg.norm(turn)
        out.append(Rotation.from_rotvec(turn * min(1.0, np.radians(12) / max(angle, 1e-9))).as_matrix())
        behind = behind * Rotation.from_rotvec(0.5 * (behind.inv() * now).as_rotvec())
    return np.stack(out)
