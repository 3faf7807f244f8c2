"""The ICT FaceKit head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gs_reg.errors import InputError
from gs_reg.priors import ARKIT, Part, arkit_matrix, load_prior
from tests.priors.heads import arkit_code, check_gaze, check_head, check_motion


def test_the_head_is_whole(ict):
    check_head(ict)
    counts = torch.bincount(ict.mesh.face_parts, minlength=len(Part))
    assert (counts > 100).all() and ict.licence == "MIT"
    vertices = torch.bincount(ict.mesh.vertex_parts, minlength=len(Part))
    assert vertices[Part.EYE] == 3140 and vertices[Part.TOOTH_UPPER] == 2208 and vertices[Part.TOOTH_LOWER] == 2204
    assert len(ict.mesh.vertex_parts) == 26719 - 760


def test_the_map_from_arkit_is_complete(ict):
    assert ict.dim == 57 and len(ict.channels) == 57
    units = {name: arkit_code(ict, **{name: 1.0}) for name in ARKIT}
    driven = {name: [ict.channels[i] for i in code.nonzero()[:, 0].tolist()] for name, code in units.items()}
    assert driven.pop("tongueOut") == []
    assert driven.pop("browInnerUp") == ["browInnerUp_L", "browInnerUp_R"]
    assert driven.pop("cheekPuff") == ["cheekPuff_L", "cheekPuff_R"]
    assert driven["mouthLeft"] == ["mouthLeft"] and driven["jawRight"] == ["jawRight"]
    assert driven["eyeBlinkLeft"] == ["eyeBlink_L"] and all(len(channels) == 1 for channels in driven.values())
    never = set(ict.channels) - {name for channels in driven.values() for name in channels}
    never -= {"browInnerUp_L", "browInnerUp_R", "cheekPuff_L", "cheekPuff_R"}
    assert never == {"cheekRaiser_L", "cheekRaiser_R", "PupilDilate_L", "PupilDilate_R"}


def test_its_codes_come_from_arkit_without_its_files_too(ict, anny):
    a52 = torch.rand(3, 52, generator=torch.Generator().manual_seed(0))
    for prior in (ict, anny):
        matrix = arkit_matrix(prior.name, prior.channels)
        assert matrix is not None and torch.allclose(a52 @ matrix, prior.from_arkit(a52))
    assert arkit_matrix("flame2023", ("expr_0",)) is None


def test_parts_move_as_they_should(ict):
    check_motion(ict)
    check_gaze(ict)


def test_gums_stay_with_the_skull_or_go_with_the_jaw(ict):
    """No triangle is between them: those that the file has turn inside out in the throat as the mouth opens."""
    opened = ict.vertices(arkit_code(ict, jawOpen=1.0)) - ict.vertices(ict.neutral)
    motion = opened.norm(dim=1)[ict.mesh.faces] * ict.unit_m
    assert motion[ict.mesh.face_parts == Part.GUM_UPPER].max() < 1e-4
    assert motion[ict.mesh.face_parts == Part.TONGUE_GUM].min() > 0.01


def test_the_eyeballs_turn_by_30_and_25_degrees(ict):
    rest = ict.vertices(ict.neutral)
    eye = ict.mesh.vertex_parts == Part.EYE
    left = eye & (rest[:, 0] > 0)
    center = (rest[left].amax(0) + rest[left].amin(0)) / 2
    for unit, degrees in (("Out", 30), ("Up", 25)):
        posed = ict.vertices(arkit_code(ict, **{f"eyeLook{unit}Left": 1.0}))
        a, b = rest[left] - center, posed[left] - center
        assert torch.allclose(a.norm(dim=1), b.norm(dim=1), atol=1e-5)
        turn = torch.linalg.lstsq(a, b).solution
        assert abs(torch.rad2deg(torch.acos((turn.trace() - 1) / 2)) - degrees) < 0.1


def test_codes_and_persons_in_one_call(ict):
    z = torch.rand(2, 57, generator=torch.Generator().manual_seed(0)) * 0.3
    ident = ict.random_ident(1)
    both = ict.vertices(z, ident)
    assert torch.allclose(both[1], ict.vertices(z[1], ident), atol=1e-5) and len(ident) == 100
    assert 0.001 < (ict.vertices(z[0], ident) - ict.vertices(z[0])).norm(dim=-1).mean() * 0.25 < 0.03


def test_files_that_are_not_the_kit_are_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"ict_facekit_compact\.npz.*No such file"):
        load_prior("ict", tmp_path)
    with pytest.raises(InputError, match="name their folder"):
        load_prior("ict")
    with pytest.raises(InputError, match="expected one of anny, ict"):
        load_prior("itc", tmp_path)
    small = {name: np.zeros((2, 3)) for name in ("neutral", "expr_delta", "id_delta", "faces", "faces_uv", "uv")}
    np.savez(tmp_path / "small.npz", **small, expr_names=np.array(["jawOpen"]))
    with pytest.raises(InputError, match=r"small\.npz: expected 26719 vertices"):
        load_prior("ict", tmp_path / "small.npz")
