"""What all heads that are meshes must do."""

from __future__ import annotations

import torch
from torch import Tensor

from gs_reg.priors import ARKIT, Part
from gs_reg.priors.mesh import MeshPrior


def arkit_code(prior: MeshPrior, **units: float) -> Tensor:
    a52 = torch.zeros(52)
    for name, value in units.items():
        a52[ARKIT.index(name)] = value
    code = prior.from_arkit(a52)
    assert code is not None
    return code


def shift(prior: MeshPrior, part: Part, **units: float) -> Tensor:
    """Mean motion in metres of the vertices of a part."""
    moved = prior.vertices(arkit_code(prior, **units)) - prior.vertices(prior.neutral)
    return moved[prior.mesh.vertex_parts == part].mean(0) * prior.unit_m


def check_head(prior: MeshPrior) -> None:
    """Indices in range, axes, units, and that each part goes where it should."""
    vertices, mesh = prior.vertices(prior.neutral) * prior.unit_m, prior.mesh
    assert mesh.faces.min() == 0 and mesh.faces.max() == len(vertices) - 1
    assert mesh.faces_uv.min() == 0 and mesh.faces_uv.max() == len(mesh.uv) - 1
    assert len(mesh.faces) == len(mesh.face_parts) == len(mesh.faces_uv) and len(mesh.vertex_parts) == len(vertices)
    assert mesh.uv.isfinite().all() and vertices.isfinite().all()
    eyes = vertices[mesh.vertex_parts == Part.EYE]
    left, right = eyes[eyes[:, 0] > 0], eyes[eyes[:, 0] < 0]
    middle = (left.amax(0) + left.amin(0) + right.amax(0) + right.amin(0)) / 4
    assert torch.allclose(middle, torch.tensor([0, 0.03, 0.03]), atol=1e-5)
    skin = vertices[mesh.vertex_parts == Part.SKIN]
    nose = skin[skin[:, 2].argmax()]
    assert nose[0].abs() < 0.005 and -0.03 < nose[1] < 0.02
    assert 0.13 < (skin[:, 0].max() - skin[:, 0].min()) < 0.5
    mouth = vertices[mesh.vertex_parts == Part.LIP_UPPER].mean(0)
    assert mouth[1] > vertices[mesh.vertex_parts == Part.LIP_LOWER].mean(0)[1] and mouth[2] > 0.03
    lid = vertices[mesh.vertex_parts == Part.LID_UPPER].mean(0)
    assert lid[1] > vertices[mesh.vertex_parts == Part.LID_LOWER].mean(0)[1]


def check_motion(prior: MeshPrior) -> None:
    assert shift(prior, Part.TOOTH_LOWER, jawOpen=1)[1] < -0.01
    assert shift(prior, Part.TOOTH_UPPER, jawOpen=1).abs().max() < 1e-4
    assert shift(prior, Part.LIP_LOWER, jawOpen=1)[1] < 2 * shift(prior, Part.LIP_UPPER, jawOpen=1)[1] - 0.005
    assert shift(prior, Part.TONGUE_GUM, jawOpen=1)[1] < -0.003
    assert shift(prior, Part.LIP_UPPER, mouthLeft=1)[0] > 0.003
    assert shift(prior, Part.LIP_UPPER, mouthRight=1)[0] < -0.003
    blink = shift(prior, Part.LID_UPPER, eyeBlinkLeft=1, eyeBlinkRight=1)
    assert blink[1] < -0.002 < shift(prior, Part.LID_LOWER, eyeBlinkLeft=1, eyeBlinkRight=1)[1]
    lashes = [shift(prior, part, eyeBlinkLeft=1, eyeBlinkRight=1)[1] for part in (Part.LASH_UPPER, Part.LASH_LOWER)]
    assert lashes[0] < -0.006 and abs(lashes[1]) < 0.001
    assert shift(prior, Part.SOCKET_LOWER, jawOpen=1)[1] < 4 * shift(prior, Part.SOCKET_UPPER, jawOpen=1)[1] - 0.005
    for name in ("jawOpen", "mouthLeft", "eyeBlinkLeft"):
        assert shift(prior, Part.SCALP, **{name: 1.0}).abs().max() < 1e-3


def check_gaze(prior: MeshPrior) -> None:
    """Each eye looks where its units say: the front-most vertices of the eyeball move there."""
    rest = prior.vertices(prior.neutral)
    for side, sign in (("Left", 1), ("Right", -1)):
        own = (prior.mesh.vertex_parts == Part.EYE) & (rest[:, 0] * sign > 0)
        front = own & (rest[:, 2] > rest[own, 2].max() - 0.01)
        for unit, axis, direction in (("In", 0, -sign), ("Out", 0, sign), ("Up", 1, 1), ("Down", 1, -1)):
            moved = prior.vertices(arkit_code(prior, **{f"eyeLook{unit}{side}": 1.0})) - rest
            assert moved[front, axis].mean() * direction * prior.unit_m > 0.002, unit + side
            assert moved[(prior.mesh.vertex_parts == Part.EYE) & ~own].abs().max() < 1e-5
