"""The mathematics of the player's shader, written a second time in numpy over the page's own words."""

import base64
import gzip
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from gs_reg.bake import BakeConfig, Baked, Playback, bake, sampled_codes, save_player
from gs_reg.errors import InputError
from gs_reg.rotations import quat_to_rotmat

from . import toy

CODE = torch.tensor([0.9, 0.7, 0.8, 0.6])


@pytest.fixture(scope="module")
def basis():
    base = toy.cloud(500)
    codes = sampled_codes(toy.codes(200), 60)
    return bake(lambda z: toy.deformed(z, base), codes, toy.NEUTRAL, toy.CHANNELS, toy.UNIT_M, BakeConfig(rank=6))


def inside(page: str, name: str) -> str:
    return re.search(rf'id="{name}">(.*?)</script>', page, re.DOTALL)[1]


def words_of(text: str, count: int) -> np.ndarray:
    planes = np.frombuffer(gzip.decompress(base64.b64decode(text)), np.uint8).reshape(-1, count)
    return np.ascontiguousarray(planes.T).view("<u4")


def coefficients(regressor: dict, code: np.ndarray) -> np.ndarray:
    h = (code - regressor["mean"]) / regressor["scale"]
    for k, (weight, bias) in enumerate(regressor["layers"]):
        h = np.array(weight) @ (h if k == 0 else h / (1 + np.exp(-h))) + bias
    return h


def stored(rows: np.ndarray, scene: dict) -> tuple[np.ndarray, ...]:
    """Means, log-scales, colours, opacities and axes of the table."""
    halves = rows[:, 3:8].copy().view("<u2")
    rgb = halves[:, :3].copy().view("<f2").astype(np.float32)
    logs = scene["logScale"][0] + scene["logScale"][1] * (halves[:, 7:10] / 65535)
    p = np.maximum(halves[:, 4:7].copy().view("<i2") / 32767, -1)
    n = (p * p).sum(1, keepdims=True)
    q = np.hstack([(1 - n) / (1 + n), 2 * p / (1 + n)])
    axes = quat_to_rotmat(torch.from_numpy(q)).numpy()
    return rows[:, :3].copy().view("<f4"), logs, rgb, halves[:, 3] / 65535, axes


def shader(scene: dict, rows: np.ndarray, words: np.ndarray, code: np.ndarray) -> tuple[np.ndarray, ...]:
    """What `splat()` of basis.js makes of every row."""
    mean, logs, rgb, alpha, axes = stored(rows, scene)
    rank = scene["basis"]["rank"]
    table = words.view(np.int8).reshape(len(rows), rank, 16)
    weights = np.zeros((rank, 16))
    weights[:, :13] = coefficients(scene["basis"]["regressor"], code)[:, None] * scene["basis"]["steps"]
    by = (table * weights).sum(1)
    v = by[:, 6:9]
    angle = np.linalg.norm(v, axis=1)[:, None, None]
    small = angle <= 1e-4
    safe = np.where(small, 1, angle)
    s, c = np.where(small, 1, np.sin(safe) / safe), np.where(small, 0.5, (1 - np.cos(safe)) / safe**2)
    cross = np.zeros((len(v), 3, 3))
    cross[:, [2, 0, 1], [1, 2, 0]], cross[:, [1, 2, 0], [2, 0, 1]] = v, -v
    turn = np.cos(angle) * np.eye(3) + c * v[:, :, None] * v[:, None] + s * cross
    alpha = np.clip(alpha, 0.5 / 65535, 1 - 0.5 / 65535)
    alpha = 1 / (1 + (1 - alpha) / alpha * np.exp(-by[:, 9]))
    return mean + by[:, :3], logs + by[:, 3:6], rgb + 0.28209479177387814 * by[:, 10:13], alpha, turn @ axes


def test_the_shader_does_what_the_basis_does(basis, tmp_path):
    save_player(tmp_path / "a.html", basis, track=Playback(toy.codes(5), 25.0, torch.eye(4).repeat(5, 1, 1)))
    page = (tmp_path / "a.html").read_text()
    scene = json.loads(inside(page, "scene"))
    rows, words = (words_of(inside(page, name), scene["count"]) for name in ("splats", "basis"))
    assert words.shape == (500, 4 * basis.rank)
    mean, logs, rgb, alpha, axes = shader(scene, rows, words, CODE.numpy())
    expected = Baked(basis)(CODE)
    neutral = Baked(basis)(toy.NEUTRAL)
    assert float((expected.means - neutral.means).abs().max()) > 0.1  # there is something to get right
    np.testing.assert_allclose(mean, expected.means, atol=1e-5)
    np.testing.assert_allclose(logs, expected.log_scales, atol=1e-4)
    np.testing.assert_allclose(alpha, expected.opacities, atol=1e-4)
    np.testing.assert_allclose(rgb, 0.5 + 0.28209479 * expected.sh[:, 0], atol=3e-4)  # of 16-bit floats
    np.testing.assert_allclose(axes, quat_to_rotmat(expected.quats), atol=2e-4)  # of 16-bit parameters
    assert scene["track"]["fps"] == 25 and len(scene["track"]["codes"]) == 5
    assert [channel["name"] for channel in scene["channels"]] == list(toy.CHANNELS)


def test_what_a_page_cannot_hold_is_told(basis, tmp_path):
    with pytest.raises(InputError, match="expected a track of 4 channels, got codes of 3"):
        save_player(tmp_path / "a.html", basis, track=Playback(torch.zeros(2, 3), 25.0))
    many = replace(basis, columns=np.repeat(basis.columns, 12, 0)[:49], scales=np.repeat(basis.scales, 12, 0)[:49])
    with pytest.raises(InputError, match="at most 48 columns, got 49"):
        save_player(tmp_path / "a.html", many)
