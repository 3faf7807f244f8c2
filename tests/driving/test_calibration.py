"""Curves from scores to coefficients: sweeps, clips, weak units; and the judgement of a clip."""

import pytest
import torch

from gs_reg.driving.calibration import Calibration
from gs_reg.driving.judge import judge
from gs_reg.driving.types import INDEX
from gs_reg.errors import InputError
from gs_reg.priors import ARKIT

AMOUNTS = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])


def sweep(units=("jawOpen", "mouthSmileLeft", "mouthSmileRight", "cheekPuff")) -> torch.Tensor:
    """Five frames a unit, smiles on both sides at once."""
    rows = []
    for name in units:
        if name.endswith("Right"):
            continue
        block = torch.zeros(5, 52)
        block[:, INDEX[name]] = AMOUNTS
        if name.endswith("Left"):
            block[:, INDEX[name.replace("Left", "Right")]] = AMOUNTS
        rows.append(block)
    return torch.cat(rows)


def tracker(truth: torch.Tensor) -> torch.Tensor:
    """Scores as a landmarker has them: bent, with an offset; cheeks are never seen, smiles show in the jaw too."""
    scores = 0.05 + 0.6 * truth**1.7
    scores[:, INDEX["cheekPuff"]] = 0.001
    scores[:, INDEX["jawOpen"]] += 0.2 * truth[:, INDEX["mouthSmileLeft"]]
    return scores


def test_a_sweep_straightens_bent_scores():
    curves = Calibration.from_sweep(tracker(sweep()), sweep())
    truth = torch.zeros(21, 52)
    truth[:, INDEX["jawOpen"]] = torch.linspace(0, 1, 21)
    out = curves(tracker(truth))
    error = (out - truth)[:, INDEX["jawOpen"]].abs()
    assert float(error.max()) < 0.06  # straight pieces between five knots of a bent curve
    assert float((tracker(truth) - truth)[:, INDEX["jawOpen"]].abs().max()) > 0.3
    torch.testing.assert_close(curves(tracker(sweep()))[:, INDEX["jawOpen"]][:5], AMOUNTS, atol=1e-5, rtol=0)
    assert bool((curves(torch.full((1, 52), 9.0))[:, INDEX["jawOpen"]] == 1).all())  # held at the end
    assert bool((curves(torch.full((1, 52), -9.0)) == 0).all())


def test_units_that_are_not_seen_stay_at_rest_and_others_lose_their_offset(caplog):
    curves = Calibration.from_sweep(tracker(sweep()), sweep())
    assert curves.unseen == ("cheekPuff",) and "cheekPuff" in caplog.text
    scores = torch.full((1, 52), 0.05)
    scores[0, INDEX["browInnerUp"]] = 0.525  # not in the sweep
    out = curves(scores)[0]
    assert float(out[INDEX["browInnerUp"]]) == pytest.approx(0.5, abs=1e-4)
    assert float(out[INDEX["cheekPuff"]]) == 0 and float(out[INDEX["jawOpen"]]) == 0


def test_scores_that_fall_on_the_way_are_pooled():
    truth = sweep(("jawOpen",))
    scores = torch.zeros(5, 52)
    scores[:, INDEX["jawOpen"]] = torch.tensor([0.1, 0.3, 0.2, 0.6, 0.6])  # of 0, 0.25, 0.5, 0.75 and 1
    curves = Calibration.from_sweep(scores, truth)
    i = INDEX["jawOpen"]
    probe = torch.zeros(4, 52)
    probe[:, i] = torch.tensor([0.1, 0.25, 0.425, 0.6])
    # 0.25 and 0.5 are one pool at 0.25; 0.75 and 1 are not told apart
    torch.testing.assert_close(curves(probe)[:, i], torch.tensor([0.0, 0.375, 0.625, 0.875]), atol=1e-5, rtol=0)
    assert bool((curves.scores.diff(dim=1) >= 0).all())


def test_frames_where_a_unit_shows_less_make_the_curve_right_on_average():
    i, k = INDEX["jawOpen"], INDEX["mouthPucker"]
    g = torch.Generator().manual_seed(0)
    truth = torch.zeros(300, 52)
    truth[20:, i] = 0.1 + 0.9 * torch.rand(280, generator=g)
    truth[::3, k] = (truth[::3, i] > 0).float()
    scores = truth * (1 - 0.5 * truth[:, k : k + 1])  # hidden by half when lips are pursed
    out = Calibration.from_sweep(scores, truth)(scores)[:, i]
    assert abs(float((out - truth[:, i]).mean())) < 0.01
    alone = Calibration.from_sweep(scores[truth[:, k] == 0], truth[truth[:, k] == 0])(scores)[:, i]
    assert float((alone - truth[:, i]).mean()) < -0.05
    assert float((out - truth[:, i]).abs().mean()) < float((alone - truth[:, i]).abs().mean()) + 0.02


def test_a_sweep_without_rest_is_refused():
    with pytest.raises(ValueError, match="every unit at rest"):
        Calibration.from_sweep(torch.ones(3, 52), torch.ones(3, 52))


def test_a_clip_gives_offset_and_a_gain_with_a_floor():
    g = torch.Generator().manual_seed(0)
    clip = 0.02 * torch.rand(200, 52, generator=g) + 0.1
    i, k = INDEX["jawOpen"], INDEX["cheekPuff"]
    clip[20:, i] += 0.6 * torch.rand(180, generator=g)
    out = Calibration.from_clip(clip)(clip)
    assert float(out[:20, i].abs().max()) < 0.05 and float(out[:, i].max()) == pytest.approx(1, abs=0.01)
    assert float(out[:, k].max()) < 0.06  # noise of a unit that does not act is not blown up
    picked = Calibration.from_clip(clip, neutral=3)
    torch.testing.assert_close(picked.scores[:, 0], clip[3])


def test_files(tmp_path):
    curves = Calibration.from_sweep(tracker(sweep()), sweep())
    curves.save(tmp_path / "a.json")
    read = Calibration.load(tmp_path / "a.json")
    assert torch.equal(read.scores, curves.scores) and torch.equal(read.values, curves.values)
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "b.json").write_text(text.replace('"jawOpen"', '"jaw"'))
    with pytest.raises(InputError, match=r"b\.json: 'jawOpen' is missing"):
        Calibration.load(tmp_path / "b.json")


def clip(seed=0) -> torch.Tensor:
    """Each judged unit acts in about 60 % of 400 frames."""
    g = torch.Generator().manual_seed(seed)
    truth = torch.zeros(400, 52)
    for name in ("jawOpen", "mouthSmileLeft", "eyeBlinkLeft"):
        value = torch.rand(400, generator=g) * (torch.rand(400, generator=g) < 0.65)
        truth[:, INDEX[name]] = value
        truth[:, INDEX[name.replace("Left", "Right")]] = value
    return truth


def test_the_judge_passes_what_follows_and_no_constant():
    truth = clip()
    g = torch.Generator().manual_seed(1)
    good = judge(truth, truth + 0.1 * torch.randn(400, 52, generator=g))
    assert good.passed and [unit.name for unit in good.units] == ["jawOpen", "smile", "blink"]
    assert good.units[0].median_all == pytest.approx(0.0675, abs=0.015)  # of a normal distribution
    assert "pass" in good.words and "FAIL" not in good.words
    for constant in (0.0, 0.2, 0.5):
        other = judge(truth, torch.full_like(truth, constant))
        assert not any(unit.passed for unit in other.units)
        assert all(unit.constant <= unit.median_all + 1e-6 for unit in other.units)
    assert not judge(truth, truth.roll(200, 0)).passed
    assert not judge(truth, 0.4 * truth).passed  # right in its shape, too weak


def test_a_clip_that_could_not_tell_is_refused():
    truth = clip()
    truth[150:, INDEX["jawOpen"]] = 0
    with pytest.raises(ValueError, match="jawOpen: expected a unit that acts in half of the frames"):
        judge(truth, truth)


def test_there_are_52_names_in_order():
    assert len(ARKIT) == len(set(ARKIT)) == 52 and list(INDEX.values()) == list(range(52))
