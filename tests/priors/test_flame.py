"""FLAME's mathematics and the reading of its file, on a made-up head of its layout."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from scipy.spatial.transform import Rotation

from gs_reg.errors import InputError
from gs_reg.priors import HeadPose, Part, Track, check_codes, load_prior
from gs_reg.priors.flame import CHANNELS
from gs_reg.priors.mesh import MeshPrior


def _grid(center, radii, rows: int, columns: int):
    """A closed ball of rows and columns."""
    polar, turn = np.meshgrid(
        np.linspace(0.02, np.pi - 0.02, rows), np.linspace(0, 2 * np.pi, columns, endpoint=False), indexing="ij"
    )
    points = np.stack([np.sin(polar) * np.sin(turn), np.cos(polar), np.sin(polar) * np.cos(turn)], -1) * radii + center
    corner = np.arange(rows * columns).reshape(rows, columns)
    right = np.roll(corner, -1, axis=1)
    quads = np.stack([corner[:-1], corner[1:], right[1:], right[:-1]], -1).reshape(-1, 4)
    return points.reshape(-1, 3), np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def _arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    skull, skull_faces = _grid([0, 0, -0.06], [0.075, 0.12, 0.1], 61, 60)
    eyes = [_grid([side * 0.03, 0.03, 0.025], [0.012, 0.012, 0.012], 9, 12) for side in (1, -1)]
    vertices, faces, weights = skull, skull_faces, np.zeros((len(skull), 5))
    front = (skull[:, 2] > 0) & (np.abs(skull[:, 0]) < 0.04)
    jaw = front & (skull[:, 1] < -0.04) & (skull[:, 1] > -0.1)
    weights[:, 2], weights[:, 1] = jaw, ~jaw
    slit = np.flatnonzero(jaw & (skull[:, 1] > -0.046) & (np.abs(skull[:, 0]) < 0.025))
    above = skull_faces[(~np.isin(skull_faces, np.flatnonzero(jaw))).any(1) & np.isin(skull_faces, slit).any(1)]
    copies = {int(old): len(skull) + i for i, old in enumerate(slit)}
    faces = np.where(
        np.isin(faces, slit) & (np.isin(faces, above).all(1, keepdims=True)),
        np.vectorize(lambda v: copies.get(int(v), v))(faces),
        faces,
    )
    vertices = np.concatenate([vertices, skull[slit]])
    weights = np.concatenate([weights, np.tile([0, 1.0, 0, 0, 0], (len(slit), 1))])
    for joint, (ball, ball_faces) in zip((3, 4), eyes, strict=True):
        faces = np.concatenate([faces, ball_faces + len(vertices)])
        vertices = np.concatenate([vertices, ball])
        weights = np.concatenate([weights, np.tile(np.eye(5)[joint], (len(ball), 1))])
    count = len(vertices)
    joints = np.array(
        [[0, -0.15, -0.08], [0, -0.1, -0.08], [0, -0.02, -0.07], [0.03, 0.03, 0.025], [-0.03, 0.03, 0.025]]
    )
    regressor = np.zeros((5, count))
    for row, joint in zip(regressor, joints, strict=True):
        near = np.argsort(np.linalg.norm(vertices - joint, axis=1))[:8]
        row[near] = 1 / 8
    return {
        "v_template": vertices,
        "shapedirs": 0.002 * rng.standard_normal((count, 3, 400)) / 10,
        "posedirs": 1e-4 * rng.standard_normal((count, 3, 36)),
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], dtype=np.uint32),
        "f": faces.astype(np.uint32),
    }


def _write(path: Path, arrays: dict, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As the authors' files are: chumpy's wrappers around some arrays, a sparse matrix, protocol 2."""

    class Ch:
        def __init__(self, x):
            self.x = x

        def __getstate__(self):
            return {"x": self.x, "dterms": ("x",)}

    module = types.ModuleType("chumpy.ch")
    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    module.Ch = Ch  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
        patch.setitem(sys.modules, "chumpy.ch", module)
        content = arrays | {name: Ch(arrays[name]) for name in ("v_template", "shapedirs")}
        content["J_regressor"] = scipy.sparse.csc_matrix(arrays["J_regressor"])
        path.write_bytes(pickle.dumps(content | {"bs_type": "lrotmin"}, protocol=2))
    return path


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return _arrays()


@pytest.fixture(scope="module")
def flame(arrays, tmp_path_factory: pytest.TempPathFactory) -> MeshPrior:
    folder = tmp_path_factory.mktemp("flame")
    with pytest.MonkeyPatch.context() as patch:
        _write(folder / "flame2023.pkl", arrays, patch)
    prior = load_prior("flame2023", folder)
    assert isinstance(prior, MeshPrior)
    return prior


def _by_hand(arrays: dict[str, np.ndarray], z: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Joint after joint, vertex after vertex."""
    shaped = arrays["v_template"] + arrays["shapedirs"] @ np.concatenate([shape, z[:100]])
    joints = arrays["J_regressor"] @ shaped
    jaw, left, right, neck = z[100:].reshape(4, 3)
    turns = [np.eye(3)] + [Rotation.from_rotvec(v).as_matrix() for v in (neck, jaw, left, right)]
    posed = shaped + arrays["posedirs"] @ np.concatenate([(turn - np.eye(3)).ravel() for turn in turns[1:]])
    out = np.zeros_like(posed)
    for joint, chain in enumerate([[0], [0, 1], [0, 1, 2], [0, 1, 3], [0, 1, 4]]):
        moved = posed
        for link in reversed(chain):
            moved = (moved - joints[link]) @ turns[link].T + joints[link]
        out += arrays["weights"][:, joint : joint + 1] * moved
    return out


def test_vertices_are_what_skinning_says(flame, arrays):
    rng = np.random.default_rng(1)
    z, shape = np.concatenate([rng.standard_normal(100), 0.4 * rng.standard_normal(12)]), rng.standard_normal(300)
    count = len(arrays["v_template"])
    wanted = _by_hand(arrays, z, shape)
    got = flame.vertices(torch.tensor(z).float(), torch.tensor(shape).float())[:count] * 0.25
    assert np.abs(got.numpy() - wanted).max() < 1e-5
    assert np.abs(flame.vertices(flame.neutral)[:count].numpy() * 0.25 - arrays["v_template"]).max() < 1e-6
    both = flame.vertices(torch.stack([flame.neutral, torch.tensor(z).float()]), torch.tensor(shape).float())
    assert torch.allclose(both[1, :count] * 0.25, got, atol=1e-6)


def test_the_code_is_expression_jaw_eyes_neck(flame):
    assert flame.dim == 112 == len(CHANNELS) and flame.name == "flame2023"
    assert (
        flame.channels[99:104] == ("expr99", "jaw_x", "jaw_y", "jaw_z", "eye_left_x") and flame.channels[-1] == "neck_z"
    )
    assert flame.from_arkit(torch.zeros(52)) is None
    rest = flame.vertices(flame.neutral)

    def turn(name: str, angle: float) -> torch.Tensor:
        code = flame.neutral.index_fill(0, torch.tensor(CHANNELS.index(name)), angle)
        return flame.vertices(code) - rest

    parts = flame.mesh.vertex_parts
    eye = parts == Part.EYE
    left = eye & (rest[:, 0] > 0) & (rest[:, 2] > 0.125)
    assert (
        turn("eye_left_y", 0.4)[left, 0].mean() > 0.005
        and turn("eye_left_y", 0.4)[eye & (rest[:, 0] < 0), 0].abs().max() < 0.01
    )
    opened = turn("jaw_x", 0.3)
    assert opened[parts == Part.TOOTH_LOWER, 1].max() < -0.03 and opened[parts == Part.TOOTH_UPPER].abs().max() < 1e-6
    assert opened[parts == Part.LIP_LOWER, 1].mean() < -0.03 and opened[parts == Part.LIP_UPPER, 1].abs().mean() < 0.01


def test_teeth_lie_behind_the_lips_and_follow_the_person(flame):
    rest, parts = flame.vertices(flame.neutral) * 0.25, flame.mesh.vertex_parts
    upper, lower = rest[parts == Part.TOOTH_UPPER], rest[parts == Part.TOOTH_LOWER]
    assert len(upper) == len(lower) == 96 and upper[:, 1].min() > lower[:, 1].max()
    assert upper[:, 2].max() < rest[parts == Part.LIP_UPPER][:, 2].max()
    normals = torch.linalg.cross(*(rest[flame.mesh.faces[:, i]] - rest[flame.mesh.faces[:, 0]] for i in (1, 2)))
    for part in (Part.TOOTH_UPPER, Part.TOOTH_LOWER):
        assert (normals[flame.mesh.face_parts == part, 2] > 0).float().mean() > 0.9
    person = flame.vertices(flame.neutral, flame.random_ident(0)) * 0.25 - rest
    assert person[parts == Part.TOOTH_UPPER].abs().max() > 0 and person[parts == Part.TOOTH_UPPER].std(0).max() < 1e-6


def test_points_in_space_follow_it(flame):
    sample = flame.surface(None, 300, 0)
    z = flame.neutral.index_fill(0, torch.tensor(CHANNELS.index("jaw_x")), 0.2)
    posed = flame.forward(sample.points, z, part=sample.parts)
    true = (sample.barycentric[..., None] * flame.vertices(z)[flame.mesh.faces[sample.triangles]]).sum(1)
    assert (posed - true).norm(dim=1).max() < 2e-3


def test_years_do_not_mix(flame, arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = _write(tmp_path / "FLAME2020.pkl", arrays, monkeypatch)
    with pytest.raises(InputError, match=r"FLAME2020\.pkl: is FLAME 2020, while FLAME 2023 is asked for"):
        load_prior("flame2023", path)
    old = load_prior("flame2020", tmp_path)
    track = Track(torch.zeros(2, 112), HeadPose.identity(2), "flame2023", ("a", "b"))
    check_codes(track, flame)
    with pytest.raises(InputError, match="those of flame2023, while the prior is flame2020"):
        check_codes(track, old)
    with pytest.raises(InputError, match="expected codes of 112 numbers"):
        check_codes(Track(torch.zeros(2, 50), track.pose, "flame2023", track.names), flame)


class _Harmful:
    def __reduce__(self):
        return print, ("run",)


def test_files_with_other_objects_are_not_run(arrays, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "flame2023.pkl"
    path.write_bytes(pickle.dumps(arrays | {"extra": _Harmful()}))
    with pytest.raises(InputError, match=r"flame2023\.pkl: builtins\.print is nothing that a head model needs"):
        load_prior("flame2023", path)
    assert "run" not in capsys.readouterr().out
    path.write_bytes(pickle.dumps({name: value for name, value in arrays.items() if name != "weights"}))
    with pytest.raises(InputError, match="weights"):
        load_prior("flame2023", path)
    path.write_bytes(pickle.dumps(arrays | {"shapedirs": arrays["shapedirs"][:, :, :50]}))
    with pytest.raises(InputError, match=r"shapedirs: expected \[\d+, 3, 400\] as FLAME has it"):
        load_prior("flame2023", path)
    path.write_bytes(pickle.dumps(arrays | {"weights": np.tile([0, 1.0, 0, 0, 0], (len(arrays["v_template"]), 1))}))
    with pytest.raises(InputError, match="no lips found"):
        load_prior("flame2023", path)
    with pytest.raises(InputError, match="found 0: name the file"):
        (tmp_path / "empty").mkdir()
        load_prior("flame2023", tmp_path / "empty")
