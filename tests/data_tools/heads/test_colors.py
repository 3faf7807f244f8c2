"""Colour calibration: a polynomial in linear colours."""

import json

import numpy as np
import pytest

from gs_reg.data_tools.heads import ReadOptions, read_capture
from gs_reg.data_tools.heads.colors import TERMS, corrected, decoded, encoded, expanded
from gs_reg.errors import InputError
from tests.data_tools.heads import folders
from tests.data_tools.heads.folders import SERIALS, Shoot


def test_terms():
    assert all(len(terms.split()) == count for count, terms in TERMS.items())
    values = expanded(np.array([2.0, 3.0, 5.0]), 10)
    assert values.tolist() == [2, 3, 5, 6, 10, 15, 4, 9, 25, 1]


def test_identity_keeps_pixels():
    pixels = np.arange(256 * 3, dtype=np.uint8).reshape(16, 16, 3)
    for terms in TERMS:
        assert (corrected(pixels, np.eye(3, terms)) == pixels).all()


def test_the_matrix_acts_on_linear_colours():
    """Twice the light, and red from green."""
    pixels = np.full((1, 1, 3), (50, 80, 120), np.uint8)
    linear = decoded(pixels / 255.0)[0, 0]
    matrix = np.array([[0, 2.0, 0, 0, 0.1], [0, 2.0, 0, 0, 0], [0, 0, 2.0, 0, 0]])
    out = corrected(pixels, matrix)[0, 0]
    expected = encoded(np.array([2 * linear[1] + 0.1, 2 * linear[1], 2 * linear[2]])) * 255
    assert out == pytest.approx(expected, abs=0.51)


def test_read_with_a_capture(tmp_path):
    person = folders.nersemble_2(tmp_path, Shoot())
    path = person / "calibration" / "color_calibration.json"
    swap = np.eye(3)[[1, 0, 2]]
    path.write_text(json.dumps({SERIALS[0]: swap.tolist(), SERIALS[1]: np.eye(3).tolist()}))
    plain = read_capture(person, ReadOptions(color=False)).photo(1, 0)
    photo = read_capture(person).photo(1, 0)
    assert photo.tolist() == plain[..., [1, 0, 2]].tolist()
    path.write_text(json.dumps({SERIALS[0]: swap.tolist()}))
    with pytest.raises(InputError, match=f"no matrix of camera {SERIALS[1]}"):
        read_capture(person)
    path.write_text(json.dumps({serial: "red" for serial in SERIALS}))
    with pytest.raises(InputError, match=r"color_calibration\.json: "):
        read_capture(person)
    path.write_text(json.dumps({serial: np.eye(3, 6).tolist() for serial in SERIALS}))
    with pytest.raises(InputError, match=r"got \[3, 6\]"):
        read_capture(person)
